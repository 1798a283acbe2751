/**
 * RabbitMQ through amqplib: transient messages, one exclusive queue per subscriber, acknowledged
 * automatically, as its documentation advises where messages may be lost and speed is wanted.
 * Runs on: the end processes. Owns: one connection with one channel.
 */
import type { Target } from '../../load/plan.js'
import { importPeer } from '../folder.js'
import type { Link } from '../link.js'

const EXCHANGE = 'amq.direct'

/** What of the package is used here. */
interface AmqpModule {
  readonly default: { connect(url: string, socket: object): Promise<AmqpConnection> }
}

interface AmqpConnection {
  on(event: 'error' | 'close', listener: (error?: Error) => void): void
  createChannel(): Promise<AmqpChannel>
  close(): Promise<void>
}

interface AmqpChannel {
  publish(exchange: string, key: string, content: Buffer, options: object): boolean
  once(event: 'drain', listener: () => void): void
  assertQueue(name: string, options: object): Promise<{ readonly queue: string }>
  bindQueue(queue: string, exchange: string, key: string): Promise<unknown>
  consume(
    queue: string,
    listener: (message: { readonly content: Buffer } | null) => void,
    options: object,
  ): Promise<unknown>
}

export async function open({ host, port }: Target): Promise<Link> {
  const { default: amqp } = await importPeer<AmqpModule>('amqplib')
  const connection = await amqp.connect(`amqp://${host}:${port}`, { noDelay: true })
  let isClosed = false
  for (const event of ['error', 'close'] as const) {
    connection.on(event, (error) => {
      if (!isClosed) throw error ?? new Error('RabbitMQ broke the connection')
    })
  }
  const channel = await connection.createChannel()
  let isFull = false
  return {
    // False from the channel means «taken, but wait»: the next one is refused here.
    publish: (topic, payload) => {
      if (isFull) return false
      isFull = !channel.publish(EXCHANGE, topic, payload, { persistent: false })
      return true
    },
    room: () =>
      new Promise((resolve) => {
        channel.once('drain', () => {
          isFull = false
          resolve()
        })
      }),
    subscribe: async (topic, onMessage) => {
      const { queue } = await channel.assertQueue('', {
        exclusive: true,
        autoDelete: true,
        durable: false,
      })
      await channel.bindQueue(queue, EXCHANGE, topic)
      const deliver = (message: { readonly content: Buffer } | null) => {
        if (!message) throw new Error('RabbitMQ cancelled the consumer')
        onMessage(message.content)
      }
      await channel.consume(queue, deliver, { noAck: true })
    },
    lost: () => 0,
    close: async () => {
      isClosed = true
      await connection.close()
    },
  }
}
