/**
 * The client SDK of ringcast: publish and subscribe from Node and browsers over one WebSocket that
 * comes back by itself. Begin with {@link connect}.
 * @example
 * import { connect } from 'ringcast/client'
 *
 * const client = await connect('ws://localhost:8080/ws')
 * client.subscribe('orders.*', ({ topic, payload }) => console.log(topic, payload))
 * await client.publish('orders.new', { id: 1 })
 * @module
 */
export type { PublishResult } from './bundle.js'
export { Client, type ClientEvents, type ClientState } from './client.js'
export type { PayloadCodec } from './codecs.js'
export { connect } from './connect.js'
export type {
  ConsumeContext,
  ConsumeHandler,
  ConsumeOptions,
  GroupBackoff,
  GroupOptions,
} from './consume-options.js'
export { ConsumedMessage } from './consumed-message.js'
export { Consumer, type ConsumerEvents, type Joined } from './consumer.js'
export {
  CancelError,
  ConnectionClosedError,
  HandlerError,
  InvalidPayloadError,
  NonRetryableError,
  NoRespondersError,
  OverloadedError,
  ProtocolError,
  PublishError,
  RequestFailedError,
  RetryLaterError,
  RingcastError,
  SubscribeError,
  TimeoutError,
} from './errors.js'
export type {
  BreakerOptions,
  BreakerState,
  HandlerContext,
  HandlerOptions,
  MessageHandler,
  RetryOptions,
} from './handler.js'
export { Message, type Priority } from './message.js'
export type { ClientHooks, ConnectOptions } from './options.js'
export type { EpochChange, Gap } from './places.js'
export { ClientPool, connectPool, type PoolOptions } from './pool.js'
export type { BatchResult, PublishOptions } from './publish-options.js'
export { Replies, type Reply } from './replies.js'
export type { RequestManyOptions, RequestOptions, RequestStats } from './request-options.js'
export type { RequestHandler } from './responder.js'
export type { WebSocketClass, WebSocketLike } from './socket.js'
export { type SubscribeOptions, Subscription, type SubscriptionEvents } from './subscription.js'
