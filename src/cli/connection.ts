/**
 * A connection of the SDK for one command: says at once why there is none, and on stderr when it is
 * lost and back. Always by `ws`, which names the reason; a browser's WebSocket never does.
 * Runs on: the command's process.
 */
import WebSocket from 'ws'
import { type Client, type ConnectOptions, connect } from '../client/ringcast.js'
import { unreachable } from './failure.js'
import type { GlobalOptions } from './options.js'
import type { Terminal } from './terminal.js'

export async function openClient(
  terminal: Terminal,
  { url, timeout }: GlobalOptions,
  options: ConnectOptions = {},
): Promise<Client> {
  let refuse: (error: Error) => void = () => {}
  const refused = new Promise<never>((_, reject) => {
    refuse = reject
  })
  class TellingWebSocket extends WebSocket {
    constructor(address: string, protocols: string[]) {
      super(address, protocols)
      this.once('error', refuse)
    }
  }
  const opening = connect(url.wsUrl, {
    connectTimeoutMs: timeout,
    ...options,
    WebSocket: TellingWebSocket as unknown as NonNullable<ConnectOptions['WebSocket']>,
  })
  opening.catch(() => {}) // Whoever loses the race has nothing to say.
  refused.catch(() => {})
  try {
    const client = await Promise.race([opening, refused])
    client.on('state', (state) => {
      if (state === 'reconnecting') terminal.note(`connection to ${url.wsUrl} lost, trying again`)
      if (state === 'open') terminal.note('connected again')
    })
    return client
  } catch (error) {
    throw unreachable(url.wsUrl, error)
  }
}
