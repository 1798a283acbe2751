/**
 * Mosquitto with one listener to measure, MQTT over TCP or over WebSocket. Persistence and logs off,
 * no delay on sockets, and no limit on what may wait for a subscriber: it drops silently above it.
 * Runs on: the benchmark's main process. Owns: nothing; see native.ts.
 */
import type { Server } from '../../server-process.js'
import { passwordLine } from '../mqtt-password.js'
import { freePort, type Place, startNative } from './native.js'

export const MOSQUITTO_COMMAND = 'mosquitto'

export function startMosquitto(): Promise<Server> {
  return start(({ host, port }) => [`listener ${port} ${host}`])
}

export async function startMosquittoWebSocket(): Promise<Server> {
  const tcpPort = await freePort() // Without a TCP listener beside it 2.0.11 does not start.
  return start(({ host, port }) => [
    `listener ${tcpPort} ${host}`,
    `listener ${port} ${host}`,
    'protocol websockets',
  ])
}

function start(listeners: (place: Place) => string[]): Promise<Server> {
  return startNative({
    name: 'mosquitto',
    command: MOSQUITTO_COMMAND,
    files: (place) => ({
      passwords: passwordLine(),
      'mosquitto.conf': [
        'user root', // Else it becomes `mosquitto`, who may not read this folder.
        'allow_anonymous false',
        `password_file ${place.folder}/passwords`,
        'persistence false',
        'set_tcp_nodelay true',
        'max_queued_messages 0',
        'max_queued_bytes 0',
        'log_type error',
        'log_dest stderr',
        ...listeners(place),
      ].join('\n'),
    }),
    args: () => ['-c', 'mosquitto.conf'],
  })
}
