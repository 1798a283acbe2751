/**
 * The two client libraries behind one face: a queue whose messages members take and ack.
 * Runs on: the publisher's or a member's process. Owns: the connection.
 */
import { connect } from '../../src/client/connect.js'

export type QueueName = 'ringcast' | 'jetstream'

export interface QueueLink {
  /** Makes the queue; called once, before anything else. */
  prepare(): Promise<void>
  /** Hands one message over. False: not taken, wait for room() and try again. */
  publish(payload: Uint8Array): boolean
  room(): Promise<void>
  /** Takes messages and acks each of them, with everything that the library does by itself. */
  consume(onAcked: () => void): Promise<void>
}

const TOPIC = 'bench.groups'
const GROUP = 'members'
/** What a member may have unacked; the same for both. */
const IN_FLIGHT = 1000
const STREAM_BYTES = 1024 * 1024 * 1024

export function openQueue(name: QueueName, port: number): Promise<QueueLink> {
  return name === 'ringcast' ? ringcastQueue(port) : jetStreamQueue(port)
}

async function ringcastQueue(port: number): Promise<QueueLink> {
  const client = await connect(`ws://127.0.0.1:${port}/ws`, { codec: 'bytes' })
  client.on('error', (error) => {
    throw error // A refused message would spoil the count.
  })
  const options = { start: 'earliest', maxInFlight: IN_FLIGHT, window: 65_536 } as const
  return {
    prepare: async () => {
      const consumer = client.consume(TOPIC, GROUP, () => {}, options)
      await consumer.ready
      await consumer.stop()
    },
    publish: (payload) => client.publishNow(TOPIC, payload),
    room: () => new Promise((resolve) => client.once('drain', resolve)),
    consume: async (onAcked) => {
      const consumer = client.consume(TOPIC, GROUP, onAcked, options)
      consumer.on('gap', ({ dropped }) => {
        throw new Error(`${dropped} messages lost`)
      })
      await consumer.ready
    },
  }
}

/** Memory storage, work-queue retention, one durable pull consumer with explicit acks. */
async function jetStreamQueue(port: number): Promise<QueueLink> {
  const { connect: connectNats } = await import('@nats-io/transport-node')
  const { AckPolicy, jetstream, jetstreamManager, RetentionPolicy, StorageType } = await import(
    '@nats-io/jetstream'
  )
  const connection = await connectNats({ servers: `127.0.0.1:${port}`, noEcho: true })
  const stream = jetstream(connection)
  return {
    prepare: async () => {
      const manager = await jetstreamManager(connection)
      await manager.streams.add({
        name: GROUP,
        subjects: [TOPIC],
        storage: StorageType.Memory,
        retention: RetentionPolicy.Workqueue,
        max_bytes: STREAM_BYTES,
      })
      await manager.consumers.add(GROUP, {
        durable_name: GROUP,
        ack_policy: AckPolicy.Explicit,
        max_ack_pending: 65_536,
      })
    },
    // Without waiting for the stream's confirmation, as publishNow() does: the fastest there is.
    publish: (payload) => {
      connection.publish(TOPIC, payload)
      return true
    },
    room: () => connection.flush(),
    consume: async (onAcked) => {
      const consumer = await stream.consumers.get(GROUP, GROUP)
      await consumer.consume({
        max_messages: IN_FLIGHT,
        callback: (message) => {
          message.ack()
          onAcked()
        },
      })
    },
  }
}
