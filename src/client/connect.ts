/**
 * How a program gets a client.
 * Runs on: Node and browsers. Owns: nothing.
 */
import { Client } from './client.js'
import { type ConnectOptions, settingsOf } from './options.js'
import { findWebSocket } from './socket.js'

/**
 * Connects, and resolves with the client once the connection is open.
 * @param url where the broker listens: `ws://host:port/ws`, or `wss://…`
 * @throws ConnectionClosedError when it could not be opened within `connectTimeoutMs`; RangeError or
 * TypeError for an option that cannot be.
 * @example
 * const client = await connect('ws://localhost:8080/ws')
 * const { seq } = await client.publish('orders', { id: 1 })
 * await client.drain()
 */
export async function connect(url: string, options: ConnectOptions = {}): Promise<Client> {
  const settings = settingsOf(options)
  const WebSocketImpl = options.WebSocket ?? (await findWebSocket())
  const client = new Client(url, settings, WebSocketImpl)
  await client.opened
  return client
}
