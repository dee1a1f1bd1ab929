/**
 * The only way into a network of its own: a socket in the file system, whose first line names a port of 127.0.0.1 there. Runs as root until it
 * listens, then as nobody, so that rules of that network can tell clients from the agent and from servers. Ends with its standard input.
 */
import {createConnection, createServer, type Socket} from 'node:net'

const [path] = process.argv.slice(2)
const nobody = 65_534

function join(client: Socket, port: number, first: Buffer): void {
  const server = createConnection({host: '127.0.0.1', port, noDelay: true})
  server.write(first)
  client.pipe(server)
  server.pipe(client)
  for (const [one, other] of [[client, server], [server, client]] as const) {
    one.on('error', () => undefined)
    one.on('close', () => other.destroy())
  }
}

createServer((client) => {
  client.on('error', () => undefined)
  client.once('data', (data) => {
    client.pause()
    const end = data.indexOf('\n')
    join(client, Number(data.subarray(0, end).toString()), data.subarray(end + 1))
  })
}).listen(path, () => {
  process.setgroups?.([])
  process.setgid?.(nobody)
  process.setuid?.(nobody)
  process.stdout.write('ready\n')
})
process.stdin.resume()
process.stdin.on('end', () => process.exit(0))
