/**
 * One member of a group: a subscription of some connection, as far as the shard knows it.
 * Runs on: the shard. Owns: nothing shared; the table keeps what a successor needs.
 */
import type { Format } from '../ring/record.js'

/** Bytes of unsettled entries that a member may have, so that no socket has to buffer more; one entry always goes. */
const IN_FLIGHT_BYTES_MAX = 1024 * 1024

export class Member {
  /** Number that the gateway gave it. */
  readonly id: number
  /** Label for people: its client_id, or nothing. */
  readonly name: string
  readonly format: Format
  readonly maxInFlight: number
  isPaused = false
  inFlight = 0
  inFlightBytes = 0

  constructor(id: number, name: string, format: Format, maxInFlight: number) {
    this.id = id
    this.name = name
    this.format = format
    this.maxInFlight = maxInFlight
  }

  /** Messages it may be given now. */
  get credit(): number {
    if (this.isPaused || this.inFlightBytes >= IN_FLIGHT_BYTES_MAX) return 0
    return this.maxInFlight - this.inFlight
  }

  get creditBytes(): number {
    return IN_FLIGHT_BYTES_MAX - this.inFlightBytes
  }
}
