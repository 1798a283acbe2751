/**
 * nats-server, for TCP or for WebSocket clients. Core NATS as it comes: it has no switch for speed.
 * The limit of what may wait for one client is above every window of the comparison.
 * Runs on: the benchmark's main process. Owns: nothing; see native.ts.
 */
import type { Server } from '../../server-process.js'
import { freePort, startNative } from './native.js'

const PENDING_BYTES_MAX = 256 * 2 ** 20

export const NATS_COMMAND = 'nats-server'

export function startNats(): Promise<Server> {
  return start(({ host, port }) => `listen: "${host}:${port}"`)
}

export async function startNatsWebSocket(): Promise<Server> {
  const tcpPort = await freePort() // It insists on a TCP listener as well.
  return start(
    ({ host, port }) => `listen: "${host}:${tcpPort}"
websocket { listen: "${host}:${port}", no_tls: true, compression: false }`,
  )
}

function start(listeners: (place: { host: string; port: number }) => string): Promise<Server> {
  return startNative({
    name: 'nats-server',
    command: NATS_COMMAND,
    files: (place) => ({
      'nats.conf': `${listeners(place)}\nmax_pending: ${PENDING_BYTES_MAX}\n`,
    }),
    args: () => ['-c', 'nats.conf'],
  })
}
