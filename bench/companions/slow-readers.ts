/**
 * Subscribers that stop reading while the load runs, and read on when it is over.
 * Runs on: a process of its own, started by companion.ts. Owns: their connections.
 *
 * What they then lack has to be what the broker says it dropped (GAP), message for message, and
 * there has to be a loss at all: else nobody was slow, and the run says nothing.
 */
import { once } from 'node:events'
import { WebSocket } from 'ws'
import { fail, listen, tell } from '../load/child.js'
import { MsgpackDecoder } from '../load/decode.js'
import { subscribeFrame } from '../load/encode.js'
import { Tally } from '../load/tally.js'
import { audienceOf, streamCount, subscriptionOf } from '../load/topics.js'
import type { CompanionSetup, FromCompanion, ToCompanion } from './companion.js'

/** After the load: reading goes on until nothing has come for so long. */
const QUIET_MS = 1000
const DRAIN_MS_MAX = 20_000

interface Reader {
  readonly socket: WebSocket
  readonly tally: Tally
  readonly streams: number[]
  announced: number
}

let readers: Reader[] = []

listen<ToCompanion<'slow-readers'>>(async (message) => {
  if (message.type === 'setup') {
    const indexes = Array.from({ length: message.spec.subscribers }, (_, i) => i)
    readers = await Promise.all(indexes.map((index) => open(message, index)))
    tell({ type: 'ready' } satisfies FromCompanion)
  } else if (message.type === 'begin') {
    for (const { socket } of readers) socket.pause()
  } else await readOn()
})

async function open(
  { target, plan }: CompanionSetup<'slow-readers'>,
  index: number,
): Promise<Reader> {
  const url = `ws://${target.host}:${target.port}/ws`
  const socket = new WebSocket(url, 'ringcast.v1.msgpack', { perMessageDeflate: false })
  socket.on('error', (error) => fail(`reader ${index}: ${error.message}`))
  socket.on('close', (code) => fail(`reader ${index}: closed, code=${code}`))
  await once(socket, 'open')
  const audience = audienceOf(plan, index)
  const streams = audience.flatMap((hears, stream) => (hears ? [stream] : []))
  const reader = { socket, streams, tally: new Tally(streamCount(plan)), announced: 0 }
  await new Promise<void>((acked) => {
    const decoder = new MsgpackDecoder({
      message: (_, stream, number) => reader.tally.note(stream, number),
      ack: () => acked(),
      gap: (dropped) => {
        reader.announced += dropped
      },
      refused: (text) => fail(`reader ${index}: ${text}`),
    })
    socket.on('message', (data: Buffer) => decoder.decode(data, 0, data.length))
    socket.send(subscribeFrame(plan, subscriptionOf(plan, index)).body)
  })
  return reader
}

async function readOn(): Promise<void> {
  for (const { socket } of readers) socket.resume()
  const read = () =>
    readers.reduce((sum, { tally, announced }) => sum + tally.received + announced, 0)
  const beganMs = performance.now()
  let [seen, seenMs] = [read(), beganMs]
  while (performance.now() - seenMs < QUIET_MS && performance.now() - beganMs < DRAIN_MS_MAX) {
    await new Promise((resolve) => setTimeout(resolve, 50))
    if (read() !== seen) [seen, seenMs] = [read(), performance.now()]
  }
  const sums = { received: 0, lost: 0, announced: 0, repeated: 0, outOfOrder: 0 }
  for (const { tally, announced, streams } of readers) {
    // What each stream has had is one more than the last number seen: the newest are never dropped.
    const last = Array.from({ length: Math.max(...streams) + 1 }, (_, stream) => tally.next(stream))
    const { lost, repeated, outOfOrder } = tally.losses(last)
    sums.received += tally.received
    sums.lost += lost
    sums.announced += announced
    sums.repeated += repeated
    sums.outOfOrder += outOfOrder
  }
  const { received, lost, announced, repeated, outOfOrder } = sums
  const counts =
    `${readers.length} stalled subscribers lost ${lost}, all of it announced, and got the other ` +
    `${received}`
  if (lost !== announced || repeated + outOfOrder > 0) {
    return fail(
      `lost=${lost}, announced=${announced}, repeated=${repeated}, outOfOrder=${outOfOrder}`,
    )
  }
  if (lost === 0) return fail('nobody was slow: the load is too short for the buffers')
  tell({ type: 'facts', facts: counts } satisfies FromCompanion)
}
