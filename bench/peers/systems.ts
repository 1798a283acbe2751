/**
 * Every system under comparison: how it is started, reached, configured, and what it needs.
 * Runs on: the benchmark's main process. Owns: the table.
 */
import { execFileSync } from 'node:child_process'
import { startBroker } from '../broker-process.js'
import { type Server, startServer } from '../server-process.js'
import { builtModule, installedVersion } from './folder.js'
import type { LinkName } from './link.js'
import type { PeerScenario } from './scenarios.js'
import { MOSQUITTO_COMMAND, startMosquitto, startMosquittoWebSocket } from './servers/mosquitto.js'
import { findCommand } from './servers/native.js'
import { NATS_COMMAND, startNats, startNatsWebSocket } from './servers/nats.js'
import { RABBITMQ_COMMAND, startRabbitMq } from './servers/rabbitmq.js'
import { REDIS_COMMAND, startRedis } from './servers/redis.js'

/** The log is the queue of a subscriber that is behind, and must hold more than is ever in flight. */
const BROKER_ENV = { TOPIC_HISTORY_SIZE: '262144', SUBSCRIBER_QUEUE_SIZE: '262144' } as const

export interface System {
  readonly name: string
  /** Server and client, as a table shows them. */
  readonly title: string
  readonly link: LinkName
  /** What differs from the defaults. */
  readonly configuration: string
  /** A program that Debian's package brings. */
  readonly command?: string
  readonly debianPackage?: string
  /** Packages of bench/peers/package.json. */
  readonly packages: readonly string[]
  /** Only these scenarios; all if not told. */
  readonly only?: readonly PeerScenario['name'][]
  start(): Promise<Server>
}

export const SYSTEMS: readonly System[] = [
  {
    name: 'ringcast',
    title: 'ringcast, `publishNow`',
    link: 'ringcast',
    configuration: 'history and queue of 262,144 messages',
    packages: [],
    start: () => startBroker(BROKER_ENV),
  },
  {
    name: 'ringcast-confirmed',
    title: 'ringcast, `publish` confirmed',
    link: 'ringcast-confirmed',
    configuration: 'as above; at most 8192 messages without an ack',
    packages: [],
    only: ['one-to-one'],
    start: () => startBroker(BROKER_ENV),
  },
  {
    name: 'uws',
    title: 'bare uWebSockets.js, `ws` client',
    link: 'broadcast',
    configuration: 'no compression; bufferutil for the client',
    packages: ['ws', 'bufferutil'],
    start: () => startOurs('uws', 'controls/broadcast-uws.js'),
  },
  {
    name: 'ws',
    title: '`ws`, both ends',
    link: 'broadcast',
    configuration: 'no compression, bufferutil',
    packages: ['ws', 'bufferutil'],
    start: () => startOurs('ws', 'controls/broadcast-ws.js'),
  },
  {
    name: 'socket.io',
    title: 'Socket.IO',
    link: 'socket.io',
    configuration: 'WebSocket only, MessagePack parser, bufferutil, no compression',
    packages: ['socket.io', 'socket.io-client', 'socket.io-msgpack-parser', 'bufferutil'],
    start: () => startOurs('socket.io', 'controls/socket-io.js'),
  },
  {
    name: 'nats',
    title: 'nats-server, TCP',
    link: 'nats',
    configuration: 'core NATS, no echo, `max_pending` 256 MiB',
    command: NATS_COMMAND,
    debianPackage: 'nats-server',
    packages: ['@nats-io/transport-node'],
    start: startNats,
  },
  {
    name: 'nats-ws',
    title: 'nats-server, WebSocket',
    link: 'nats-ws',
    configuration: 'the same; no TLS, no compression',
    command: NATS_COMMAND,
    debianPackage: 'nats-server',
    packages: ['@nats-io/transport-node', 'ws', 'bufferutil'],
    start: startNatsWebSocket,
  },
  {
    name: 'redis',
    title: 'Redis pub/sub',
    link: 'redis',
    configuration: 'no persistence, no output buffer limit for pub/sub',
    command: REDIS_COMMAND,
    debianPackage: 'redis-server',
    packages: ['ioredis'],
    start: startRedis,
  },
  {
    name: 'mqtt',
    title: 'Mosquitto, MQTT over TCP',
    link: 'mqtt',
    configuration: 'QoS 0, MQTT 3.1.1, no persistence, no logs, no delay, no queue limit',
    command: MOSQUITTO_COMMAND,
    debianPackage: 'mosquitto',
    packages: ['mqtt'],
    start: startMosquitto,
  },
  {
    name: 'mqtt-ws',
    title: 'Mosquitto, MQTT over WebSocket',
    link: 'mqtt-ws',
    configuration: 'the same',
    command: MOSQUITTO_COMMAND,
    debianPackage: 'mosquitto',
    packages: ['mqtt', 'bufferutil'],
    start: startMosquittoWebSocket,
  },
  {
    name: 'rabbitmq',
    title: 'RabbitMQ, AMQP',
    link: 'amqp',
    configuration: 'transient messages, exclusive classic queues, automatic acks, direct exchange',
    command: RABBITMQ_COMMAND,
    debianPackage: 'rabbitmq-server',
    packages: ['amqplib'],
    start: startRabbitMq,
  },
]

/** Why a system cannot be run here; undefined when it can. */
export function missing({ command, debianPackage, packages }: System): string | undefined {
  const parts = packages.filter((name) => installedVersion(name) === undefined)
  if (command !== undefined && findCommand(command) === undefined)
    parts.push(debianPackage ?? command)
  return parts.length === 0 ? undefined : `not installed: ${parts.join(', ')}`
}

/** What was measured, for the record: the server's and the packages' versions. */
export function versions({ debianPackage, packages }: System): string {
  const named = packages.map((name) => `${name} ${installedVersion(name) ?? '?'}`)
  if (debianPackage !== undefined) named.unshift(`${debianPackage} ${debianVersion(debianPackage)}`)
  return named.join(', ')
}

function debianVersion(name: string): string {
  try {
    const args = ['-W', '-f', `\${Version}`, name]
    return execFileSync('dpkg-query', args, {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
  } catch {
    return '(not of Debian)'
  }
}

function startOurs(name: string, module: string): Promise<Server> {
  return startServer({ name, module: builtModule(module), env: {} })
}
