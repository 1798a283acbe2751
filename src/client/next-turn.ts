/**
 * Runs something once the current turn of the event loop is over, timers' minimum delay apart.
 * Runs on: Node (setImmediate) and browsers (a message to ourselves). Owns: a message channel.
 */
/** As browsers have it; Node's typings know another interface. */
interface BrowserChannel {
  readonly port1: { onmessage: (() => void) | null }
  readonly port2: { postMessage(message: null): void }
}

type Immediate = (callback: () => void) => unknown

export const nextTurn: Immediate = makeNextTurn()

function makeNextTurn(): Immediate {
  const native = (globalThis as { setImmediate?: Immediate }).setImmediate
  if (native !== undefined) return native
  const { port1, port2 } = new MessageChannel() as unknown as BrowserChannel
  const callbacks: (() => void)[] = []
  port1.onmessage = () => callbacks.shift()?.()
  return (callback) => {
    callbacks.push(callback)
    port2.postMessage(null)
  }
}
