import {createCipheriv, createDecipheriv, randomBytes} from 'node:crypto'
import {chmodSync, closeSync, existsSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync} from 'node:fs'
import {dirname} from 'node:path'
import {DbaasError} from '../../core/errors.js'

/** Seals values under the home's master key. What is sealed for one owner and name does not open for another. */
export interface Vault {
  seal(tenantId: string, ownerId: string, name: string, value: string): Buffer
  open(tenantId: string, ownerId: string, name: string, sealed: Buffer): string
}

/**
 * AES-256-GCM (NIST SP 800-38D). Layout of a sealed value: 1 byte version (1), 12 bytes random nonce, 16 bytes tag,
 * ciphertext. Tenant, owner and name are authenticated with it.
 */
export function createVault(key: Buffer): Vault {
  const bind = (tenantId: string, ownerId: string, name: string) => Buffer.from(JSON.stringify([tenantId, ownerId, name]))
  return {
    seal(tenantId, ownerId, name, value) {
      const nonce = randomBytes(12)
      const cipher = createCipheriv('aes-256-gcm', key, nonce)
      cipher.setAAD(bind(tenantId, ownerId, name))
      const body = Buffer.concat([cipher.update(value, 'utf8'), cipher.final()])
      return Buffer.concat([Buffer.from([1]), nonce, cipher.getAuthTag(), body])
    },
    open(tenantId, ownerId, name, sealed) {
      try {
        if (sealed[0] !== 1) throw new Error(`sealed with format ${sealed[0]}`)
        const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(1, 13))
        decipher.setAAD(bind(tenantId, ownerId, name))
        decipher.setAuthTag(sealed.subarray(13, 29))
        return Buffer.concat([decipher.update(sealed.subarray(29)), decipher.final()]).toString('utf8')
      } catch (cause) {
        throw new DbaasError('SECRET_UNREADABLE', `the secret "${name}" of ${ownerId} cannot be opened with the key of this home`, {
          cause,
          details: {owner: ownerId, secret: name},
          suggestions: ['put back the file keys/master.key that belongs to this home'],
        })
      }
    },
  }
}

/**
 * The master key, 32 random bytes in a file of mode 0600; made on the first start. `mustExist`: the store already
 * holds sealed values, so a new key could only hide that the old one is lost.
 */
export function loadMasterKey(file: string, mustExist: boolean): Buffer {
  if (existsSync(file)) {
    const key = readFileSync(file)
    if (key.length !== 32) {
      throw new DbaasError('HOME_UNUSABLE', `the key file ${file} is damaged (${key.length} bytes, 32 expected)`, {
        details: {file}, suggestions: ['put back the key file from your copy of it'],
      })
    }
    chmodSync(file, 0o600)
    return key
  }
  if (mustExist) {
    throw new DbaasError('HOME_UNUSABLE', `the key file ${file} is missing, and secrets of this home are sealed with it`, {
      details: {file}, suggestions: ['put back the key file from your copy of it'],
    })
  }
  mkdirSync(dirname(file), {recursive: true, mode: 0o700})
  const key = randomBytes(32)
  const temporary = `${file}.new`
  const fd = openSync(temporary, 'w', 0o600)
  writeSync(fd, key)
  fsyncSync(fd)
  closeSync(fd)
  renameSync(temporary, file)
  return key
}
