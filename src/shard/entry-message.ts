/**
 * An entry as filters look at it: decoded when one of them asks, and once for all of them.
 * Runs on: the shard. Owns: copies of the parts of the entry that was looked at last.
 */
import { Unpackr } from 'msgpackr'
import type { Message } from '../filter/compile.js'
import { ERROR } from '../filter/values.js'
import { newEntryProperties, readProperties } from '../log/entry-properties.js'
import { skipStandardValue } from '../protocol/msgpack.js'
import { PAYLOAD_JSON, PAYLOAD_MSGPACK } from '../protocol/msgpack-frames.js'
import type { SharedViews } from '../ring/layout.js'
import { EntryView } from './json-text.js'
import type { Topic } from './topics.js'

/** Maps, since "__proto__" is a name like any other there; 64-bit integers as they are. */
const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: false })
const NO_HEADERS: ReadonlyMap<string, string> = new Map()

export class EntryMessage implements Message {
  topic = ''
  /** Bytes of headers and payloads decoded so far. */
  decodedBytes = 0
  readonly #buffer: Buffer
  readonly #entry = new EntryView()
  #topic: Topic | undefined
  #offset = -1
  readonly #properties = newEntryProperties()
  #key: string | undefined
  #headers: unknown
  #payload: unknown

  constructor(views: SharedViews) {
    this.#buffer = views.buffer
  }

  /** The entry of this topic that stands at `offset`. */
  look(topic: Topic, offset: number): void {
    const { seq } = this.#entry
    this.#entry.read(this.#buffer, offset)
    if (this.#topic === topic && this.#offset === offset && this.#entry.seq === seq) return
    this.#topic = topic
    this.#offset = offset
    this.topic = topic.name
    this.#key = undefined
    this.#headers = undefined
    this.#payload = undefined
  }

  /** Empty when the message has none. */
  get key(): unknown {
    if (this.#key === undefined) {
      readProperties(this.#buffer, this.#offset, this.#properties)
      const { keyStart, keyLength } = this.#properties
      this.#key = this.#buffer.utf8Slice(keyStart, keyStart + keyLength)
    }
    return this.#key
  }

  get headers(): unknown {
    const { headersStart, headersEnd } = this.#entry
    if (headersStart === headersEnd) return NO_HEADERS
    this.#headers ??= unpackr.unpack(this.#copy(headersStart, headersEnd))
    return this.#headers
  }

  get payload(): unknown {
    if (this.#payload === undefined) {
      const { encoding, payloadStart, payloadEnd } = this.#entry
      this.#payload = decoded(encoding, this.#copy(payloadStart, payloadEnd))
    }
    return this.#payload
  }

  /** A private copy: msgpackr reads shared memory 12–20 times slower, and bytes are kept. */
  #copy(start: number, end: number): Buffer {
    this.decodedBytes += end - start
    return Buffer.from(this.#buffer.subarray(start, end))
  }
}

function decoded(encoding: number, bytes: Buffer): unknown {
  try {
    if (encoding === PAYLOAD_JSON) return JSON.parse(bytes.utf8Slice(0, bytes.length))
    if (encoding !== PAYLOAD_MSGPACK) return bytes
    if (skipStandardValue(bytes, 0, bytes.length) !== bytes.length) return ERROR
    return unpackr.unpack(bytes)
  } catch {
    return ERROR // Not what its publisher said: no filter that looks at it can match.
  }
}
