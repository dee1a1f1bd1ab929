/** A client of each engine, as an application would have it: by the URL that `dbaas url` prints, over TLS. */
import {readFileSync} from 'node:fs'
import type {Site} from './site.js'

export interface TestClient {
  /** Rows of the last statement, values as text. */
  query(statement: string): Promise<string[][]>
  close(): Promise<void>
}

export async function connectTo(site: Site, name: string): Promise<TestClient> {
  const {credentials} = await site.json('api', 'GET', `/v1/instances/${name}/credentials`)
  return open(credentials)
}

/** One statement, on a connection of its own. */
export async function query(site: Site, name: string, statement: string): Promise<string[][]> {
  const client = await connectTo(site, name)
  return client.query(statement).finally(() => client.close())
}

interface Credentials {
  readonly scheme: string
  readonly host: string
  readonly port: number
  readonly database: string
  readonly username: string
  readonly password: string
  readonly ca_file: string
}

async function open({scheme, host, port, database, username, password, ca_file}: Credentials): Promise<TestClient> {
  const ca = readFileSync(ca_file, 'utf8')
  if (scheme === 'postgresql') {
    const {default: pg} = await import('pg')
    const client = new pg.Client({
      host, port, database, user: username, password, ssl: {ca, servername: 'localhost', minVersion: 'TLSv1.3'}, connectionTimeoutMillis: 40_000,
    })
    client.on('error', () => undefined)
    await client.connect()
    return {
      async query(statement) {
        const result = await client.query({text: statement, rowMode: 'array'})
        const last = Array.isArray(result) ? result.at(-1) : result
        return (last.rows as unknown[][]).map((row) => row.map(String))
      },
      close: () => client.end().catch(() => undefined),
    }
  }
  const mysql = await import('mysql2/promise')
  const connection = await mysql.createConnection({
    // the name in the certificate is checked against the host, so the host is the name
    host: host === '127.0.0.1' ? 'localhost' : host, port, database, user: username, password, connectTimeout: 40_000, rowsAsArray: true,
    ssl: {ca, minVersion: 'TLSv1.3', verifyIdentity: true},
  })
  connection.on('error', () => undefined)
  return {
    async query(statement) {
      const [rows] = await connection.query(statement)
      return Array.isArray(rows) ? (rows as unknown[][]).map((row) => row.map(String)) : []
    },
    close: async () => void (await connection.end().catch(() => undefined)),
  }
}
