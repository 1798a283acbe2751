/**
 * The words that the two threads of the doorbell benchmark share, each on a line of its own.
 * Runs on: both threads. Owns: nothing.
 */
import { LINE_BYTES } from '../../src/ring/layout.js'

export const OUR_BELL = 0
export const PEER_BELL = LINE_BYTES
export const OUR_TURNS = 2 * LINE_BYTES
export const PEER_TURNS = 3 * LINE_BYTES
export const STOP = 4 * LINE_BYTES
export const DOORBELL_BYTES = 5 * LINE_BYTES
