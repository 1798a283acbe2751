/**
 * Mosquitto with one listener, MQTT over TCP or over WebSocket. Persistence and logs off, no delay
 * on sockets, and no limit on what may wait for a subscriber: it drops silently above it.
 * Runs on: the benchmark's main process. Owns: nothing; see native.ts.
 */
import type { Server } from '../../server-process.js'
import { startNative } from './native.js'

export const MOSQUITTO_COMMAND = 'mosquitto'

export const startMosquitto = (): Promise<Server> => start('mqtt')
export const startMosquittoWebSocket = (): Promise<Server> => start('websockets')

function start(protocol: 'mqtt' | 'websockets'): Promise<Server> {
  return startNative({
    name: 'mosquitto',
    command: MOSQUITTO_COMMAND,
    files: ({ host, port }) => ({
      'mosquitto.conf': [
        `listener ${port} ${host}`,
        `protocol ${protocol}`,
        'allow_anonymous true',
        'persistence false',
        'set_tcp_nodelay true',
        'max_queued_messages 0',
        'max_queued_bytes 0',
        'log_type error',
        'log_dest stderr',
      ].join('\n'),
    }),
    args: () => ['-c', 'mosquitto.conf'],
  })
}
