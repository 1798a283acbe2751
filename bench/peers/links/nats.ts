/**
 * nats-server through the NATS project's own client, over TCP and over WebSocket. Core NATS, no
 * JetStream; as the library advises for speed: no echo, no flush per message, callbacks.
 * Runs on: the end processes. Owns: one connection.
 */
import type { Target } from '../../load/plan.js'
import { importPeer } from '../folder.js'
import type { Link } from '../link.js'

/** What of the packages is used here. */
interface NatsModule {
  connect(options: object): Promise<NatsConnection>
  wsconnect(options: object): Promise<NatsConnection>
}

interface NatsConnection {
  publish(subject: string, payload: Uint8Array): void
  subscribe(
    subject: string,
    options: {
      callback(error: Error | null, message: { readonly data: Uint8Array }): void
    },
  ): void
  flush(): Promise<void>
  closed(): Promise<unknown>
  close(): Promise<void>
}

interface WsModule {
  readonly default: new (url: string, options: object) => object
}

export async function open({ host, port }: Target): Promise<Link> {
  const { connect } = await importPeer<NatsModule>('@nats-io/transport-node')
  return linkOf(await connect({ servers: `${host}:${port}`, noEcho: true, reconnect: false }))
}

export async function openWebSocket({ host, port }: Target): Promise<Link> {
  const { default: WebSocket } = await importPeer<WsModule>('ws')
  // The library wants the browser's WebSocket, which Node 20 has not.
  Object.assign(globalThis, {
    WebSocket: class extends WebSocket {
      constructor(url: string) {
        super(url, { perMessageDeflate: false })
      }
    },
  })
  const { wsconnect } = await importPeer<NatsModule>('@nats-io/transport-node')
  const servers = `ws://${host}:${port}`
  return linkOf(await wsconnect({ servers, noEcho: true, reconnect: false }))
}

function linkOf(connection: NatsConnection): Link {
  let isClosed = false
  connection.closed().then(
    (reason) => {
      if (!isClosed) throw new Error(`nats-server broke the connection: ${reason}`)
    },
    () => {},
  )
  return {
    publish: (topic, payload) => {
      connection.publish(topic, payload)
      return true
    },
    room: () => connection.flush(),
    subscribe: async (topic, onMessage) => {
      connection.subscribe(topic, {
        callback: (error, message) => {
          if (error) throw error
          onMessage(message.data)
        },
      })
      await connection.flush()
    },
    lost: () => 0,
    close: () => {
      isClosed = true
      return connection.close()
    },
  }
}
