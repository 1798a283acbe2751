/**
 * Frames on their way to sockets: collected for a turn, then sent per socket in one go.
 * Runs on: the front thread. Owns: the list of sessions with frames.
 *
 * Almost all of a send is the system call, so what one socket gets in one turn leaves corked. Frames
 * may be views of ring memory: flush() comes before the ring is released.
 */
import { Close } from '../errors.js'
import type { Counters, GatewayCounter } from '../telemetry/counters.js'
import type { Session } from './session.js'

const DROPPED = 2
const BUFFERED = 0

export class Outbox {
  readonly #sessions: Session[] = []
  readonly #highWaterMarkBytes: number
  readonly #counters: Counters<GatewayCounter>
  readonly #afterSend: (session: Session) => void

  /** `afterSend` is called for every session that was sent to, when all have been. */
  constructor(
    highWaterMarkBytes: number,
    counters: Counters<GatewayCounter>,
    afterSend: (session: Session) => void,
  ) {
    this.#highWaterMarkBytes = highWaterMarkBytes
    this.#counters = counters
    this.#afterSend = afterSend
  }

  queue(session: Session, frame: Uint8Array): void {
    if (!session.isOpen) return
    session.outbox ??= []
    if (session.outbox.length === 0) this.#sessions.push(session)
    session.outbox.push(frame)
    session.outboxBytes += frame.length
    // Checked here too: one turn may hold more for one socket than it should ever buffer.
    if (session.outboxBytes > this.#highWaterMarkBytes) session.isCongested = true
  }

  flush(): void {
    const sessions = this.#sessions
    if (sessions.length === 0) return
    let frames = 0
    let bytes = 0
    // Indexed, and over a length that may grow: closing a socket can queue frames for others.
    for (let index = 0; index < sessions.length; index++) {
      const session = sessions[index] as Session
      const outbox = session.outbox as Uint8Array[]
      if (session.isOpen) {
        frames += outbox.length
        bytes += session.outboxBytes
        this.#send(session, outbox)
      }
      outbox.length = 0
      session.outboxBytes = 0
    }
    const sent = sessions.splice(0)
    this.#counters.add('framesSent', frames)
    this.#counters.add('bytesSent', bytes)
    for (const session of sent) if (session.isOpen) this.#afterSend(session)
  }

  /** Sends what is queued, notices included, and closes the connection. */
  closeNow(session: Session, code: number, reason: string): void {
    if (!session.isOpen) return
    const outbox = session.outbox
    if (outbox !== undefined && outbox.length > 0) {
      for (const frame of outbox) session.socket.send(frame, session.isBinary)
      outbox.length = 0
    }
    session.socket.end(code, reason)
  }

  #send(session: Session, outbox: Uint8Array[]): void {
    const { socket, isBinary } = session
    let status = 1
    if (outbox.length === 1) {
      status = socket.send(outbox[0] as Uint8Array, isBinary)
    } else {
      socket.cork(() => {
        for (const frame of outbox) {
          const sent = socket.send(frame, isBinary)
          if (sent !== 1 && status !== DROPPED) status = sent
        }
      })
    }
    if (status === DROPPED) {
      // Far above the high-water mark, with acks and errors alone: this client does not read.
      this.#counters.add('slowConsumersClosed')
      socket.end(Close.slowConsumer.code, Close.slowConsumer.reason)
    } else if (status === BUFFERED || session.isCongested) {
      session.isCongested = socket.getBufferedAmount() > this.#highWaterMarkBytes
    }
  }
}
