/**
 * Events whose listeners cannot break who emits: half a frame would be lost with the exception.
 * Runs on: Node and browsers. Owns: the listeners.
 */
import { EventEmitter } from 'eventemitter3'

export abstract class SafeEmitter<
  Events extends EventEmitter.ValidEventTypes,
> extends EventEmitter<Events> {
  /** @internal Emits; what a listener throws goes to onListenerError(). */
  override emit<Name extends EventEmitter.EventNames<Events>>(
    event: Name,
    ...values: EventEmitter.EventArgs<Events, Name>
  ): boolean {
    try {
      return super.emit(event, ...values)
    } catch (error) {
      this.onListenerError(error, event)
      return true
    }
  }

  /** @internal */
  protected abstract onListenerError(error: unknown, event: string | symbol): void
}

/** Nobody else is there to hear it: what breaks an error listener is the platform's to report. */
export function throwLater(error: unknown): void {
  queueMicrotask(() => {
    throw error
  })
}
