/**
 * What MariaDB stores of a password for mysql_native_password: SHA-1 of its SHA-1. The better methods that its versions
 * have (ed25519, parsec) are foreign to most clients, this one to none; what it is weak at, the guessing of a short
 * password from the stored form, needs a look into the system tables first.
 */
import {createHash} from 'node:crypto'
import type {Dialect} from '../mysql-family/dialect.js'

const sha1 = (data: string | Buffer): Buffer => createHash('sha1').update(data).digest()

/** The text of `authentication_string`. */
export const storedPassword = (password: string): string =>
  `*${sha1(sha1(password)).toString('hex').toUpperCase()}`

export const identifiedBy: Dialect['identifiedBy'] = async (password) =>
  `identified via mysql_native_password using '${storedPassword(password)}'`
