/**
 * uWebSockets.js events become calls of the gateway and the HTTP door; nothing else imports it.
 * Runs on: the front thread. Owns: the listen socket and the uWebSockets.js app.
 *
 * A thread that dies with open uWebSockets.js sockets aborts the whole process (exit 134), so
 * close() comes before every orderly end.
 */
import type { Logger } from 'pino'
import { Refusal, Reply } from '../errors.js'
import { type Format, JSON_TEXT, MSGPACK } from '../ring/record.js'
import type { Gateway } from './gateway.js'
import { type HttpAnswer, type HttpDoor, refusal } from './http.js'
import type { Session } from './session.js'
import type {
  HttpRequest,
  HttpResponse,
  ListenSocket,
  TemplatedApp,
  Uws,
  us_socket_context_t,
  WebSocket,
} from './uws.js'

/**
 * Above the high-water mark, for what is not held back by it: acks, pongs, errors, the chunks that
 * were on their way. A client that lets this much pile up is closed as a slow consumer.
 */
const BACKPRESSURE_MARGIN_BYTES = 8 * 1024 * 1024
const PREFLIGHT_MAX_AGE_SEC = 600

const SUBPROTOCOLS: Readonly<Record<string, Format>> = {
  'ringcast.v1.json': JSON_TEXT,
  'ringcast.v1.msgpack': MSGPACK,
}

const STATUS_TEXT: Readonly<Record<number, string>> = {
  200: '200 OK',
  201: '201 Created',
  204: '204 No Content',
  400: '400 Bad Request',
  403: '403 Forbidden',
  404: '404 Not Found',
  405: '405 Method Not Allowed',
  413: '413 Payload Too Large',
  429: '429 Too Many Requests',
  500: '500 Internal Server Error',
  503: '503 Service Unavailable',
}

export interface ListenerOptions {
  readonly host: string
  readonly port: number
  readonly maxFrameBytes: number
  readonly highWaterMarkBytes: number
  /** Origins that browsers may come from; empty: any may connect, none gets CORS headers. */
  readonly corsOrigins: readonly string[]
}

interface Connection {
  readonly format: Format
  session: Session | undefined
}

export class Listener {
  readonly #uws: Uws
  readonly #app: TemplatedApp
  readonly #gateway: Gateway
  readonly #door: HttpDoor
  readonly #options: ListenerOptions
  readonly #logger: Logger
  #listenSocket: ListenSocket | undefined

  constructor(
    uws: Uws,
    gateway: Gateway,
    door: HttpDoor,
    options: ListenerOptions,
    logger: Logger,
  ) {
    this.#uws = uws
    this.#gateway = gateway
    this.#door = door
    this.#options = options
    this.#logger = logger
    this.#app = uws
      .App()
      .ws<Connection>('/ws', {
        maxPayloadLength: options.maxFrameBytes,
        maxBackpressure: options.highWaterMarkBytes + BACKPRESSURE_MARGIN_BYTES,
        compression: uws.DISABLED,
        // Heartbeats are ours: uWebSockets.js rounds them to 4 s and counts only what it receives.
        idleTimeout: 0,
        sendPingsAutomatically: false,
        upgrade: (response, request, context) => this.#onUpgrade(response, request, context),
        open: (socket) => this.#onOpen(socket),
        message: (socket, message, isBinary) => {
          const { session } = socket.getUserData()
          if (session !== undefined) {
            this.#gateway.onFrame(session, new Uint8Array(message), isBinary)
          }
        },
        drain: (socket) => {
          const { session } = socket.getUserData()
          if (session !== undefined) this.#gateway.onWritable(session)
        },
        pong: (socket) => {
          const { session } = socket.getUserData()
          if (session !== undefined) session.wasHeard = true
        },
        close: (socket) => {
          const { session } = socket.getUserData()
          if (session !== undefined) this.#gateway.onClose(session)
        },
      })
      .any('/*', (response, request) => this.#onHttp(response, request))
  }

  /** Resolves with the port. Rejects when the address is taken. */
  listen(): Promise<number> {
    const { host, port } = this.#options
    return new Promise((resolve, reject) => {
      // Otherwise a second broker at the same port would listen too and get some of the connections.
      const options = this.#uws.LIBUS_LISTEN_EXCLUSIVE_PORT
      this.#app.listen(host, port, options, (socket) => {
        if (socket === false) {
          const why = 'the address is in use, or not one of this machine, or needs privileges'
          reject(new Error(`HOST=${host} PORT=${port}: cannot listen there, ${why}`))
          return
        }
        this.#listenSocket = socket
        resolve(this.#uws.us_socket_local_port(socket))
      })
    })
  }

  /** Takes no new connections; those that are open stay. */
  stopListening(): void {
    if (this.#listenSocket === undefined) return
    this.#uws.us_listen_socket_close(this.#listenSocket)
    this.#listenSocket = undefined
  }

  /** Closes everything at once. */
  close(): void {
    this.#listenSocket = undefined
    this.#app.close()
  }

  #onUpgrade(response: HttpResponse, request: HttpRequest, context: us_socket_context_t): void {
    const origin = request.getHeader('origin')
    const offered = request.getHeader('sec-websocket-protocol')
    const names = offered.split(',').map((name) => name.trim())
    const chosen = names.find((name) => Object.hasOwn(SUBPROTOCOLS, name))
    const refuse = (status: number, error: Refusal) => {
      this.#gateway.counters.add('connectionsRefused')
      this.#write(response, origin, { ...refusal(error), status })
    }
    if (this.#gateway.isDraining) {
      return refuse(503, new Refusal(Reply.shuttingDown, 'the broker is shutting down'))
    }
    if (this.#gateway.isFull) {
      const { maxConnections } = this.#gateway.options
      const message = `MAX_CONNECTIONS=${maxConnections} reached`
      return refuse(503, new Refusal(Reply.limitExceeded, message))
    }
    if (offered !== '' && chosen === undefined) {
      const message = `Sec-WebSocket-Protocol must be one of ${Object.keys(SUBPROTOCOLS).join(', ')}`
      return refuse(400, new Refusal(Reply.badRequest, message))
    }
    if (this.#options.corsOrigins.length > 0 && origin !== '' && !this.#allows(origin)) {
      const message = 'this origin is not in CORS_ORIGINS'
      return refuse(403, new Refusal(Reply.badRequest, message))
    }
    const format = chosen === undefined ? JSON_TEXT : (SUBPROTOCOLS[chosen] as Format)
    response.upgrade<Connection>(
      { format, session: undefined },
      request.getHeader('sec-websocket-key'),
      chosen ?? '',
      request.getHeader('sec-websocket-extensions'),
      context,
    )
  }

  #onOpen(socket: WebSocket<Connection>): void {
    const connection = socket.getUserData()
    connection.session = this.#gateway.onOpen(socket, connection.format)
  }

  #onHttp(response: HttpResponse, request: HttpRequest): void {
    const origin = request.getHeader('origin')
    const asked = request.getMethod().toUpperCase()
    const isHead = asked === 'HEAD'
    const method = isHead ? 'GET' : asked
    const path = request.getUrl()
    const query = new URLSearchParams(request.getQuery())
    let isAborted = false
    response.onAborted(() => {
      isAborted = true
    })
    const respond = (answer: HttpAnswer) => {
      if (isAborted) return
      isAborted = true // Answered: uWebSockets.js forbids to touch the response again.
      response.cork(() => this.#write(response, origin, answer, isHead))
    }
    if (path === '/ws') {
      const error = new Refusal(Reply.badRequest, '/ws takes WebSocket connections')
      return respond(refusal(error))
    }
    if (method === 'OPTIONS') return respond({ status: 204, body: '' })
    this.#readBody(response, (body) => {
      if (body === undefined) {
        const message = `the body must have at most MAX_FRAME_BYTES=${this.#options.maxFrameBytes} bytes`
        return respond(refusal(new Refusal(Reply.payloadTooLarge, message)))
      }
      try {
        this.#door.handle({ method, path, query, body }, respond)
      } catch (error) {
        this.#logger.error({ err: error, method, path }, 'request failed')
        respond(refusal(new Refusal(Reply.internal, 'the broker failed on this request')))
      }
    })
  }

  /** Calls back once, with the whole body or undefined when it is too long. */
  #readBody(response: HttpResponse, done: (body: Buffer | undefined) => void): void {
    const chunks: Buffer[] = []
    let length = 0
    let isDone = false
    response.onData((chunk, isLast) => {
      if (isDone) return
      length += chunk.byteLength
      if (length > this.#options.maxFrameBytes) {
        isDone = true
        done(undefined)
        return
      }
      chunks.push(Buffer.from(chunk.slice(0))) // The chunk's memory is taken back after the call.
      if (!isLast) return
      isDone = true
      done(Buffer.concat(chunks))
    })
  }

  #write(response: HttpResponse, origin: string, answer: HttpAnswer, isHead = false): void {
    response.writeStatus(STATUS_TEXT[answer.status] ?? String(answer.status))
    if (origin !== '' && this.#allows(origin)) {
      response.writeHeader('Access-Control-Allow-Origin', origin)
      response.writeHeader('Vary', 'Origin')
      response.writeHeader('Access-Control-Allow-Methods', 'GET, POST, PUT, PATCH, DELETE, OPTIONS')
      response.writeHeader('Access-Control-Allow-Headers', 'Content-Type')
      response.writeHeader('Access-Control-Max-Age', String(PREFLIGHT_MAX_AGE_SEC))
    }
    if (answer.allow !== undefined) response.writeHeader('Allow', answer.allow)
    if (answer.status === 503) response.writeHeader('Retry-After', '1')
    if (answer.status !== 204) response.writeHeader('Content-Type', 'application/json')
    if (!isHead) {
      response.end(answer.body)
      return
    }
    // Not by endWithoutBody(length): that waits for a body to follow.
    response.writeHeader('Content-Length', String(Buffer.byteLength(answer.body)))
    response.endWithoutBody()
  }

  #allows(origin: string): boolean {
    const { corsOrigins } = this.#options
    return corsOrigins.includes('*') || corsOrigins.includes(origin)
  }
}
