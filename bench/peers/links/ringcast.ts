/**
 * ringcast through its SDK: fire and forget, or each message confirmed.
 * Runs on: the end processes. Owns: one connection.
 */
import type { Client } from '../../../src/client/client.js'
import { connect } from '../../../src/client/connect.js'
import type { Target } from '../../load/plan.js'
import type { Link } from '../link.js'

/** Confirmed publishing: messages without an ack, beyond which the caller waits. */
const UNCONFIRMED_MAX = 8192

export async function open(target: Target): Promise<Link> {
  const client = await connectTo(target)
  return linkOf(client, (topic, payload) => client.publishNow(topic, payload), {
    room: () => new Promise((resolve) => client.once('drain', resolve)),
  })
}

/** `publish()`, which resolves when the broker has stored the message. */
export async function openConfirmed(target: Target): Promise<Link> {
  const client = await connectTo(target)
  let unconfirmed = 0
  let hasRoom: (() => void) | undefined
  const publish = (topic: string, payload: Buffer) => {
    if (unconfirmed >= UNCONFIRMED_MAX) return false
    unconfirmed++
    client.publish(topic, payload).then(
      () => {
        unconfirmed--
        hasRoom?.()
      },
      (error: unknown) => {
        throw error
      },
    )
    return true
  }
  const room = () =>
    new Promise<void>((resolve) => {
      hasRoom = resolve
    })
  return linkOf(client, publish, { room })
}

function connectTo({ host, port }: Target): Promise<Client> {
  return connect(`ws://${host}:${port}/ws`, { codec: 'bytes' })
}

function linkOf(client: Client, publish: Link['publish'], { room }: Pick<Link, 'room'>): Link {
  let lost = 0
  client.on('error', (error) => {
    throw error // A refused message would spoil the count.
  })
  return {
    publish,
    room,
    subscribe: async (topic, onMessage) => {
      const subscription = client.subscribe<Uint8Array>(topic, ({ payload }) => onMessage(payload))
      subscription.on('gap', (gap) => {
        lost += gap.dropped
      })
      await subscription.ready
    },
    lost: () => lost,
    close: async () => client.close(),
  }
}
