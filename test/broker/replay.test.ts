/**
 * Where a replay ends and live begins, while publishing goes on at full speed.
 * Allowed: every seq from the start that was asked for, once, in order. Forbidden: a gap, a repeat, an
 * entry from before the start.
 */
import { expect, test } from 'vitest'
import {
  type Json,
  JsonClient,
  MsgpackClient,
  sleep,
  startBroker,
  type TestBroker,
  type TestClient,
  waitUntil,
} from './harness.js'

/** The log holds everything, so that nothing may be missing. */
const ALL_HELD = { TOPIC_HISTORY_SIZE: '262144', SUBSCRIBER_QUEUE_SIZE: '262144' }
const BATCH = 16

interface Seen {
  readonly seq: number
  readonly ts: number
  readonly payload: string
}

/** A connection of either encoding, and what it was given by topic. */
class Reader {
  readonly client: JsonClient | MsgpackClient
  readonly byTopic = new Map<string, Seen[]>()
  gaps = 0

  private constructor(client: JsonClient | MsgpackClient) {
    this.client = client
    client.socket.on('message', () => this.#take())
  }

  static async connect(url: string, isJson: boolean): Promise<Reader> {
    return new Reader(isJson ? await JsonClient.connect(url) : await MsgpackClient.connect(url))
  }

  /** Subscribes, and resolves with what the ack says. */
  async subscribe(topic: string, options: Json = {}): Promise<Json> {
    if (this.client instanceof MsgpackClient) {
      const ack = await this.client.ask(2, topic, options)
      expect(ack[0]).toBe(33)
      return ack[3] as Json
    }
    const ack = await this.client.ask({ type: 'subscribe', topic, ...options })
    expect(ack['type']).toBe('ack')
    return ack
  }

  seen(topic: string): Seen[] {
    let seen = this.byTopic.get(topic)
    if (seen === undefined) {
      seen = []
      this.byTopic.set(topic, seen)
    }
    return seen
  }

  /** What comes next in the topic. */
  next(topic: string): number {
    return (this.seen(topic).at(-1)?.seq ?? 0) + 1
  }

  #take(): void {
    const { frames } = this.client as TestClient<unknown>
    // Whoever waits for an ack looks for it in the frames, so only events are taken out.
    for (let index = frames.length - 1; index >= 0; index--) {
      const frame = frames[index] as Json & unknown[]
      const isInfo = frame[0] === 37 || frame['type'] === 'info'
      if (isInfo) this.gaps++
      if (frame[0] !== 34 && frame['type'] !== 'event' && frame['type'] !== 'events') continue
      frames.splice(index, 1)
      this.#events(frame)
    }
  }

  #events(frame: Json & unknown[]): void {
    if (frame[0] === 34) {
      const seen = this.seen(String(frame[1]))
      for (const [seq, ts, , payload] of frame[3] as unknown[][]) {
        seen.push({ seq: Number(seq), ts: Number(ts), payload: String(payload) })
      }
      return
    }
    const events = frame['type'] === 'event' ? [frame as Json] : (frame['events'] as Json[])
    for (const { topic, seq, ts, message } of events) {
      const { payload } = message as Json
      this.seen(String(topic)).push({
        seq: Number(seq),
        ts: Date.parse(String(ts)),
        payload: String(payload),
      })
    }
  }
}

/** Publishes numbers to the topics as fast as acks come, until stopped. */
async function publishing({ wsUrl }: TestBroker, topics: readonly string[]) {
  const publisher = await MsgpackClient.connect(wsUrl)
  const counts = new Map(topics.map((topic) => [topic, 0]))
  let isStopped = false
  const done = (async () => {
    while (!isStopped) {
      const acks = topics.map((topic) => {
        const from = counts.get(topic) as number
        counts.set(topic, from + BATCH)
        const numbers = Array.from({ length: BATCH }, (_, index) => from + index + 1)
        return publisher.ask(
          1,
          topic,
          numbers.map((n) => [1, Buffer.from(String(n))]),
        )
      })
      await Promise.all(acks)
      publisher.frames.length = 0
      await sleep(1)
    }
  })()
  return {
    count: (topic: string) => counts.get(topic) as number,
    stop: async () => {
      isStopped = true
      await done
    },
  }
}

/** Checks that the reader got each of them once, in order, from `first` to the last that was published. */
async function expectAll(reader: Reader, topic: string, first: number, last: number) {
  await waitUntil(() => reader.next(topic) > last || reader.seen(topic).length > last - first + 1)
  const seqs = reader.seen(topic).map(({ seq }) => seq)
  expect(seqs[0], `first of ${topic}`).toBe(first)
  const wrong = seqs.find((seq, index) => seq !== first + index)
  expect(wrong, `${topic} is out of order there`).toBeUndefined()
  expect(seqs.length).toBe(last - first + 1)
  expect(reader.seen(topic).every(({ seq, payload }) => payload === String(seq))).toBe(true)
  expect(reader.gaps).toBe(0)
}

async function all(broker: TestBroker, topic: string): Promise<Reader> {
  const reader = await Reader.connect(broker.wsUrl, false)
  await reader.subscribe(topic)
  return reader
}

test('last_n, from_seq with epoch, and no option join live without a gap or a repeat at full speed', async () => {
  const broker = await startBroker(ALL_HELD)
  const load = await publishing(broker, ['t'])
  await waitUntil(() => load.count('t') > 500)
  const checks: [Reader, number][] = []
  for (let round = 0; round < 48; round++) {
    const reader = await Reader.connect(broker.wsUrl, round % 2 === 0)
    const batch = round % 4 === 0 ? { batch: true } : {}
    const kind = round % 3
    if (kind === 0) {
      const lastN = [1, 10, 400, 1_000_000][round % 4] as number
      const { seq } = await reader.subscribe('t', { last_n: lastN, ...batch })
      checks.push([reader, Math.max(1, Number(seq) - lastN + 1)])
    } else if (kind === 1) {
      const other = await Reader.connect(broker.wsUrl, false)
      const { epoch, seq } = await other.subscribe('t')
      other.client.socket.terminate()
      const from = [1, 100, Number(seq), Number(seq) + 1][round % 4] as number
      const ack = await reader.subscribe('t', { from_seq: from, epoch, ...batch })
      expect(ack['recovered']).toBe(true)
      checks.push([reader, from])
    } else {
      const { seq } = await reader.subscribe('t', batch)
      checks.push([reader, Number(seq) + 1])
    }
    await sleep(round % 5)
  }
  await load.stop()
  for (const [reader, first] of checks) await expectAll(reader, 't', first, load.count('t'))
})

test('since, as a time and as a duration, starts at the first entry that is not older', async () => {
  const broker = await startBroker(ALL_HELD)
  const everything = await all(broker, 't')
  const load = await publishing(broker, ['t'])
  await waitUntil(() => everything.seen('t').length > 1000)
  const readers: [Reader, number, number][] = []
  for (let round = 0; round < 16; round++) {
    const reader = await Reader.connect(broker.wsUrl, round % 2 === 0)
    const seen = everything.seen('t')
    if (round % 4 < 2) {
      const { ts } = seen[Math.floor((seen.length * round) / 16)] as Seen
      await reader.subscribe('t', { since: new Date(ts).toISOString() })
      readers.push([reader, ts, ts])
    } else {
      const ago = [0, 20, 100, 3_600_000][round % 4] as number
      const before = Date.now()
      await reader.subscribe('t', { since: ago < 1000 ? `${ago}ms` : '1h' })
      readers.push([reader, before - ago, Date.now() - ago])
    }
  }
  await load.stop()
  await expectAll(everything, 't', 1, load.count('t'))
  for (const [reader, earliest, latest] of readers) {
    const first = reader.seen('t')[0]?.seq as number
    const [before, at] = [everything.seen('t')[first - 2], everything.seen('t')[first - 1]]
    expect(at?.ts).toBeGreaterThanOrEqual(earliest)
    if (before !== undefined)
      expect(before.ts).toBeLessThan(latest === earliest ? latest : latest + 1)
    await expectAll(reader, 't', first, load.count('t'))
  }
})

test('patterns with last_n, since and cursors join live in every topic, on every shard', async () => {
  const broker = await startBroker(ALL_HELD)
  const topics = ['a.1', 'a.2', 'a.3', 'a.4', 'a.5']
  const everything = await all(broker, 'a.*')
  const load = await publishing(broker, topics)
  await waitUntil(() => everything.seen('a.5').length > 300)
  const epochs = new Map<string, unknown>()
  for (const topic of topics) {
    epochs.set(topic, (await broker.http('GET', `/topics/${topic}`)).body['epoch'])
  }
  const checks: [Reader, Map<string, number> | undefined][] = []
  for (let round = 0; round < 24; round++) {
    const reader = await Reader.connect(broker.wsUrl, round % 2 === 0)
    const batch = round % 4 === 0 ? { batch: true } : {}
    if (round % 3 === 0) {
      await reader.subscribe('a.*', { last_n: 50, ...batch })
      checks.push([reader, undefined])
    } else if (round % 3 === 1) {
      await reader.subscribe('#', { since: '1h', ...batch })
      checks.push([reader, new Map(topics.map((topic) => [topic, 1]))])
    } else {
      // One topic is missing among the cursors: the client has never seen it, all of it is news.
      const known = topics.slice(0, 4)
      const first = new Map(known.map((topic) => [topic, everything.next(topic) - round * 3]))
      const cursors = Object.fromEntries(
        known.map((topic) => [topic, { epoch: epochs.get(topic), seq: first.get(topic) }]),
      )
      expect(await reader.subscribe('a.#', { cursors, ...batch })).toMatchObject({
        recovered: true,
      })
      checks.push([reader, first.set('a.5', 1)])
    }
  }
  await load.stop()
  for (const [reader, firsts] of checks) {
    for (const topic of topics) {
      await waitUntil(() => reader.next(topic) > load.count(topic))
      const first = firsts?.get(topic) ?? (reader.seen(topic)[0]?.seq as number)
      await expectAll(reader, topic, first, load.count(topic))
      if (firsts === undefined) expect(load.count(topic) - first + 1).toBeGreaterThanOrEqual(50)
    }
  }
})

test('a client that is cut off again and again, and resumes each time, sees everything once', async () => {
  const broker = await startBroker(ALL_HELD)
  const topics = ['r.1', 'r.2', 'r.3']
  const load = await publishing(broker, topics)
  await waitUntil(() => load.count('r.1') > 0)
  const plain = new Map<boolean, Seen[]>([
    [true, []],
    [false, []],
  ])
  const wild = new Map<string, Seen[]>(topics.map((topic) => [topic, []]))
  const info = async (topic: string) => (await broker.http('GET', `/topics/${topic}`)).body['epoch']
  const epochs = new Map(await Promise.all(topics.map(async (t) => [t, await info(t)] as const)))
  for (let round = 0; round < 12; round++) {
    const readers: [Reader, () => void][] = []
    for (const [isJson, seen] of plain) {
      const reader = await Reader.connect(broker.wsUrl, isJson)
      const resume = { from_seq: (seen.at(-1)?.seq ?? 0) + 1, epoch: epochs.get('r.1') }
      expect(await reader.subscribe('r.1', resume)).toMatchObject({ recovered: true })
      readers.push([reader, () => seen.push(...reader.seen('r.1'))])
    }
    const reader = await Reader.connect(broker.wsUrl, round % 2 === 0)
    const cursors = Object.fromEntries(
      [...wild].map(([topic, seen]) => [
        topic,
        { epoch: epochs.get(topic), seq: (seen.at(-1)?.seq ?? 0) + 1 },
      ]),
    )
    expect(await reader.subscribe('r.*', { cursors })).toMatchObject({ recovered: true })
    readers.push([reader, () => topics.map((t) => wild.get(t)?.push(...reader.seen(t)))])
    if (round === 11) await load.stop()
    else await sleep(20 * (round % 4))
    if (round === 11) {
      const { client } = reader
      const done = () =>
        topics.every((topic) => reader.next(topic) > load.count(topic)) &&
        readers.every(([each]) => each.next('r.1') > load.count('r.1'))
      await waitUntil(() => client.closed !== undefined || done())
    }
    for (const [each, keep] of readers) {
      each.client.socket.terminate() // Whatever is on its way is lost with the connection.
      await each.client.whenClosed()
      keep()
      expect(each.gaps).toBe(0)
    }
  }
  for (const [topic, seen] of [
    ...wild,
    ['r.1', plain.get(true)],
    ['r.1', plain.get(false)],
  ] as const) {
    const count = load.count(topic)
    expect(seen?.map(({ seq }) => seq)).toEqual(Array.from({ length: count }, (_, n) => n + 1))
  }
})

test('what is no longer held, or of another epoch, is not recovered: all that is held comes instead', async () => {
  const broker = await startBroker({ TOPIC_HISTORY_SIZE: '100', SUBSCRIBER_QUEUE_SIZE: '100' })
  const publisher = await MsgpackClient.connect(broker.wsUrl)
  for (let n = 1; n <= 250; n++) {
    await publisher.ask(1, 'old.t', [[1, Buffer.from(String(n))]])
  }
  const { epoch } = (await broker.http('GET', '/topics/old.t')).body
  const cases: [string, Json, boolean | undefined, number][] = [
    ['old.t', { from_seq: 150, epoch }, false, 151],
    ['old.t', { from_seq: 1, epoch }, false, 151],
    ['old.t', { from_seq: 1 }, false, 151],
    ['old.t', { from_seq: 151, epoch }, true, 151],
    ['old.t', { from_seq: 200, epoch: `${epoch}x` }, false, 151],
    ['old.t', { from_seq: 252, epoch }, false, 151],
    ['old.t', { from_seq: 251, epoch }, true, 251],
    ['old.t', { last_n: 1000 }, undefined, 151],
    ['old.t', { since: '1h' }, undefined, 151],
    ['old.*', { cursors: { 'old.t': { epoch, seq: 150 } } }, false, 151],
    ['old.*', { cursors: { 'old.t': { epoch, seq: 200 } } }, true, 200],
    ['old.*', { cursors: { 'old.t': { epoch: 'other', seq: 200 } } }, false, 151],
    ['old.*', { cursors: {} }, false, 151],
  ]
  const checks: [Reader, number][] = []
  for (const [topic, options, recovered, first] of cases) {
    for (const isJson of [true, false]) {
      const reader = await Reader.connect(broker.wsUrl, isJson)
      const ack = await reader.subscribe(topic, options)
      expect(ack['recovered'], JSON.stringify(options)).toBe(recovered)
      checks.push([reader, first])
    }
  }
  for (const [reader, first] of checks) {
    await waitUntil(() => reader.seen('old.t').length >= 251 - first)
  }
  await publisher.ask(1, 'old.t', [[1, Buffer.from('251')]])
  for (const [reader, first] of checks) await expectAll(reader, 'old.t', first, 251)
})

test('a resumed pattern is not recovered when a topic that it knew has been deleted', async () => {
  const broker = await startBroker()
  const publisher = await JsonClient.connect(broker.wsUrl)
  const cursors: Json = {}
  for (const topic of ['d.1', 'd.2']) {
    const { epoch } = await publisher.ask({ type: 'publish', topic, message: { payload: 1 } })
    cursors[topic] = { epoch, seq: 2 }
  }
  for (const topic of ['d.1', 'd.2']) {
    await broker.http('DELETE', `/topics/${topic}`)
    const reader = await Reader.connect(broker.wsUrl, true)
    expect(await reader.subscribe('d.*', { cursors })).toMatchObject({ recovered: false })
  }
})

test('a late subscriber gets nothing of what was stored before it', async () => {
  const broker = await startBroker()
  const publisher = await MsgpackClient.connect(broker.wsUrl)
  for (const topic of ['late.a', 'late.b']) {
    await publisher.ask(
      1,
      topic,
      [1, 2, 3].map((n) => [1, Buffer.from(String(n))]),
    )
  }
  const readers: Reader[] = []
  for (const options of [{}, { last_n: 0 }, { batch: true }]) {
    for (const isJson of [true, false]) {
      for (const topic of ['late.a', 'late.*']) {
        const reader = await Reader.connect(broker.wsUrl, isJson)
        await reader.subscribe(topic, options)
        readers.push(reader)
      }
    }
  }
  await publisher.ask(1, 'late.a', [[1, Buffer.from('4')]])
  for (const reader of readers) await expectAll(reader, 'late.a', 4, 4)
  for (const reader of readers) expect(reader.seen('late.b')).toEqual([])
})

test('a whole history of large messages reaches readers that read slowly, in chunks, while more is published', async () => {
  const broker = await startBroker({ TOPIC_BYTES_MAX: '32MiB', HIGH_WATER_MARK_BYTES: '256KiB' })
  const publisher = await MsgpackClient.connect(broker.wsUrl)
  const count = 400 // 20 MB
  const payloadOf = (n: number) => String(n).padEnd(50_000, '.')
  const publish = (n: number) => publisher.ask(1, 'big', [[1, Buffer.from(`"${payloadOf(n)}"`)]])
  for (let n = 1; n <= count; n++) await publish(n)
  const readers: Reader[] = []
  for (const [isJson, topic, options] of [
    [true, 'big', { last_n: 1000 }],
    [false, 'big', { last_n: 1000 }],
    [true, '*', { since: '1h', batch: true }],
    [false, '*', { since: '1h' }],
  ] as const) {
    const reader = await Reader.connect(broker.wsUrl, isJson)
    await reader.subscribe(topic, options)
    reader.client.socket.pause()
    readers.push(reader)
  }
  let peakBuffered = 0
  for (let step = 1; step <= 40; step++) {
    await publish(count + step)
    for (const { client } of readers) client.socket.resume()
    await sleep(2)
    for (const { client } of readers) client.socket.pause()
    peakBuffered = Math.max(peakBuffered, broker.broker.gateway.bufferedBytes)
  }
  // The mark, what one chunk brings, and the message that a chunk may end with.
  expect(peakBuffered).toBeLessThan(readers.length * 2 ** 20)
  for (const { client } of readers) client.socket.resume()
  for (const reader of readers) {
    await waitUntil(() => reader.next('big') > count + 40)
    expect(reader.seen('big').map(({ seq }) => seq)).toEqual(
      Array.from({ length: count + 40 }, (_, n) => n + 1),
    )
    expect(
      reader.seen('big').every(({ seq, payload }) => Number(/\d+/.exec(payload)?.[0]) === seq),
    ).toBe(true)
    expect(reader.gaps).toBe(0)
  }
})
