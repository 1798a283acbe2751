/**
 * The properties of a message: the options of a publish by their names on the wire.
 * Runs on: Node and browsers. Owns: nothing; pure. The broker checks the values.
 */
import type { PublishOptions } from './publish-options.js'

/** Undefined, at the cost of a few comparisons, when none is given. */
export function propertiesOf(options: PublishOptions): Record<string, unknown> | undefined {
  const { key, priority, ttlMs, delayMs, deliverAt, replyTo, correlationId } = options
  if (
    key === undefined &&
    priority === undefined &&
    ttlMs === undefined &&
    delayMs === undefined &&
    deliverAt === undefined &&
    replyTo === undefined &&
    correlationId === undefined
  ) {
    return undefined
  }
  return {
    ...(key === undefined ? {} : { key }),
    ...(priority === undefined ? {} : { priority }),
    ...(ttlMs === undefined ? {} : { ttl_ms: ttlMs }),
    ...(delayMs === undefined ? {} : { delay_ms: delayMs }),
    ...(deliverAt === undefined ? {} : { deliver_at: Number(deliverAt) }),
    ...(replyTo === undefined ? {} : { reply_to: replyTo }),
    ...(correlationId === undefined ? {} : { correlation_id: correlationId }),
  }
}

/** Whether the broker is to keep the message for later. */
export function isForLater(properties: Readonly<Record<string, unknown>>): boolean {
  return properties['delay_ms'] !== undefined || properties['deliver_at'] !== undefined
}
