/** Bounds of what one client may put into one frame. Runs on: any thread. Owns: nothing. */

export interface FrameLimits {
  readonly maxPayloadBytes: number
  /** Messages in one publish request. */
  readonly maxBatchMessages: number
}

export const REQUEST_ID_BYTES_MAX = 128
export const CLIENT_ID_BYTES_MAX = 128
export const HEADERS_MAX = 32
/** Names and values of one message's headers together. */
export const HEADERS_BYTES_MAX = 8192
/** Topics that one subscribe with cursors may name. */
export const CURSORS_MAX = 1000
