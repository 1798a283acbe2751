/**
 * A WebSocket client that costs a load generator as little as it can.
 * Runs on: a publisher or subscriber process. Owns: its socket, one send buffer, one receive area.
 *
 * Sending: the caller reserves room, writes whole frames there (see `writeClientHeader`) and flushes
 * once per turn, so many frames leave in one system call. One write is in flight at most; until the
 * kernel has taken all of it `reserve()` refuses, and `onWritable` tells when it accepts again.
 * Masks are zero: legal, and without the cost of the exclusive-or. `ws` would copy, mask and write
 * every frame by itself.
 */
import { createHash, randomBytes } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { clientHeaderBytes, Opcode, writeClientHeader } from '../../src/protocol/client-frame.js'
import { FrameReader, type OnFrame } from './frame-reader.js'

const ACCEPT_SUFFIX = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
const HANDSHAKE_BYTES_MAX = 4096
const FRAME_BYTES_MAX = 64 * 2 ** 20
const CONNECT_TIMEOUT_MS = 30_000

/** What `reserve()` returns when the caller has to wait for `onWritable`, or has to flush first. */
export const NO_ROOM = -1

export interface WebSocketOptions {
  readonly host: string
  readonly port: number
  readonly path: string
  readonly protocol: string
  readonly sendBytes: number
  readonly receiveBytes: number
  /** A text or binary frame. Offsets into a buffer that is valid only inside the call. */
  onMessage(buffer: Buffer, start: number, end: number, isBinary: boolean): void
  /** Before the frames of one read are handed over: the moment at which they arrived. */
  onRead?(): void
  onWritable?(): void
  /** Once, when the connection is over and `close()` was not called. */
  onLost(reason: string): void
}

export class WebSocketClient {
  readonly #options: WebSocketOptions
  readonly #reader: FrameReader
  readonly #sendBuffer: Buffer
  readonly #socket: Socket
  readonly #key = randomBytes(16).toString('base64')
  readonly #handshake = Buffer.alloc(HANDSHAKE_BYTES_MAX)
  readonly #opened: Promise<void>
  #settle: ((reason: string | undefined) => void) | undefined
  #handshakeBytes = 0
  #isOpen = false
  #isOver = false
  #appended = 0
  #inFlight = false
  #writesUnconfirmed = 0

  constructor(options: WebSocketOptions) {
    this.#options = options
    this.#sendBuffer = Buffer.allocUnsafeSlow(options.sendBytes)
    this.#reader = new FrameReader(this.#onFrame, {
      areaBytes: options.receiveBytes,
      frameBytesMax: FRAME_BYTES_MAX,
    })
    this.#opened = new Promise((resolve, reject) => {
      this.#settle = (reason) => (reason === undefined ? resolve() : reject(new Error(reason)))
    })
    this.#socket = connect({
      host: options.host,
      port: options.port,
      noDelay: true,
      onread: { buffer: this.#room, callback: this.#onBytes },
    })
    this.#socket.setTimeout(CONNECT_TIMEOUT_MS, () => this.#lose('no answer to the handshake'))
    this.#socket.on('connect', () => this.#socket.write(this.#upgradeRequest()))
    this.#socket.on('error', (error) => this.#lose(error.message))
    this.#socket.on('close', () => this.#lose('the server closed the connection'))
  }

  /** Settles when the server has accepted the upgrade. */
  opened(): Promise<void> {
    return this.#opened
  }

  /** The memory that `reserve()` gives out. */
  get sendBuffer(): Buffer {
    return this.#sendBuffer
  }

  /** Gives room for a frame of `bytes` in `sendBuffer`. Returns its offset, or NO_ROOM. */
  reserve(bytes: number): number {
    const offset = this.#appended
    if (this.#inFlight || this.#isOver || offset + bytes > this.#sendBuffer.length) return NO_ROOM
    this.#appended = offset + bytes
    return offset
  }

  /** True while the kernel has not yet taken what was flushed. */
  get isBlocked(): boolean {
    return this.#inFlight
  }

  /** Hands everything reserved so far to the kernel. */
  flush(): void {
    if (this.#appended === 0 || this.#inFlight || this.#isOver) return
    const bytes = this.#sendBuffer.subarray(0, this.#appended)
    this.#inFlight = true
    this.#writesUnconfirmed++
    this.#socket.write(bytes, this.#onWritten)
    // Mostly the kernel took it all at once: then the buffer is ours again without waiting a turn,
    // and the callback comes later, perhaps after the next flush. Hence the count.
    if (this.#socket.writableLength === 0) this.#release()
  }

  /** Sends one small frame by itself: subscribe, pong. Not for the hot path. */
  send(payload: Uint8Array, opcode: number): void {
    const header = clientHeaderBytes(payload.length)
    const frame = Buffer.allocUnsafe(header + payload.length)
    writeClientHeader(frame, 0, opcode, payload.length)
    frame.set(payload, header)
    this.#socket.write(frame)
  }

  close(): void {
    this.#isOver = true
    this.#socket.destroy()
  }

  readonly #onWritten = (): void => {
    this.#writesUnconfirmed--
    if (!this.#inFlight || this.#writesUnconfirmed > 0) return
    this.#release()
    this.#options.onWritable?.()
  }

  #release(): void {
    this.#inFlight = false
    this.#appended = 0
  }

  readonly #room = (): Buffer =>
    this.#isOpen ? this.#reader.room() : this.#handshake.subarray(this.#handshakeBytes)

  readonly #onBytes = (count: number): boolean => {
    try {
      if (this.#isOpen) {
        this.#options.onRead?.()
        this.#reader.received(count)
      } else this.#onHandshake(count)
    } catch (error) {
      this.#lose(error instanceof Error ? error.message : String(error))
    }
    return true
  }

  readonly #onFrame: OnFrame = (area, start, end, opcode) => {
    if (opcode === Opcode.binary || opcode === Opcode.text) {
      this.#options.onMessage(area, start, end, opcode === Opcode.binary)
    } else if (opcode === Opcode.ping) {
      this.send(area.subarray(start, end), Opcode.pong)
    } else if (opcode === Opcode.close) {
      const code = end - start >= 2 ? area.readUInt16BE(start) : 1005
      this.#lose(`closed by the server: code=${code} ${area.toString('utf8', start + 2, end)}`)
    }
  }

  #onHandshake(count: number): void {
    const handshake = this.#handshake
    this.#handshakeBytes += count
    const end = handshake.subarray(0, this.#handshakeBytes).indexOf('\r\n\r\n')
    if (end === -1) {
      if (this.#handshakeBytes === handshake.length) throw new Error('endless handshake answer')
      return
    }
    this.#checkAnswer(handshake.toString('latin1', 0, end))
    this.#isOpen = true
    this.#socket.setTimeout(0)
    this.#settle?.(undefined)
    this.#settle = undefined

    const rest = handshake.subarray(end + 4, this.#handshakeBytes)
    if (rest.length > this.#reader.room().length) throw new Error('receiveBytes is too small')
    this.#reader.room().set(rest)
    this.#options.onRead?.()
    this.#reader.received(rest.length)
  }

  #checkAnswer(answer: string): void {
    const [status = '', ...lines] = answer.split('\r\n')
    const headers = new Map<string, string>()
    for (const line of lines) {
      const colon = line.indexOf(':')
      headers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim())
    }
    if (!status.startsWith('HTTP/1.1 101')) throw new Error(`upgrade refused: ${status}`)
    const accept = createHash('sha1').update(`${this.#key}${ACCEPT_SUFFIX}`).digest('base64')
    if (headers.get('sec-websocket-accept') !== accept) throw new Error('wrong accept key')
    const protocol = headers.get('sec-websocket-protocol')
    if (protocol !== this.#options.protocol) {
      throw new Error(`wrong protocol: wanted=${this.#options.protocol}, got=${protocol}`)
    }
  }

  #upgradeRequest(): string {
    const { host, port, path, protocol } = this.#options
    return [
      `GET ${path} HTTP/1.1`,
      `Host: ${host}:${port}`,
      'Upgrade: websocket',
      'Connection: Upgrade',
      `Sec-WebSocket-Key: ${this.#key}`,
      'Sec-WebSocket-Version: 13',
      `Sec-WebSocket-Protocol: ${protocol}`,
      '',
      '',
    ].join('\r\n')
  }

  #lose(reason: string): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#socket.destroy()
    if (this.#settle) this.#settle(reason)
    else this.#options.onLost(reason)
    this.#settle = undefined
  }
}
