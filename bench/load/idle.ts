/**
 * A process that opens many connections and then leaves them alone, but for answering pings.
 * Runs on: a process of its own, started by idle-connections.ts. Owns: the connections.
 */
import type { OpenIdle } from '../idle-connections.js'
import { fail, listen, tell } from './child.js'
import { WebSocketClient } from './websocket.js'

/** Handshakes under way at once: below any listen backlog. */
const AT_ONCE = 100
const SEND_BYTES = 0
const RECEIVE_BYTES = 512

listen<OpenIdle>(async ({ target, connections }) => {
  for (let opened = 0; opened < connections; opened += AT_ONCE) {
    const wave = Array.from({ length: Math.min(AT_ONCE, connections - opened) }, () =>
      new WebSocketClient({
        ...target,
        path: '/ws',
        protocol: 'ringcast.v1.msgpack',
        sendBytes: SEND_BYTES,
        receiveBytes: RECEIVE_BYTES,
        onMessage: () => {},
        onLost: (reason) => fail(`idle connection: ${reason}`),
      }).opened(),
    )
    await Promise.all(wave)
  }
  tell({ type: 'ready' })
})
