/** What `import … from 'ringcast/client'` gives: the public names of the SDK, and nothing else. */
export {
  Client,
  type ClientEvents,
  type ClientHooks,
  type ClientState,
  type ConnectOptions,
  connect,
} from './client.js'
export type { PayloadCodec } from './codecs.js'
export {
  ConnectionClosedError,
  HandlerError,
  InvalidPayloadError,
  OverloadedError,
  ProtocolError,
  PublishError,
  RingcastError,
  SubscribeError,
  TimeoutError,
} from './errors.js'
export type { BreakerState, HandlerContext, HandlerOptions, MessageHandler } from './handler.js'
export { Message } from './message.js'
export { ClientPool, connectPool, type PoolOptions } from './pool.js'
export type { BatchResult, PublishOptions, PublishResult } from './publisher.js'
export {
  type Gap,
  type SubscribeOptions,
  Subscription,
  type SubscriptionEvents,
} from './subscription.js'
