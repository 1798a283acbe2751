/**
 * A publisher that is faster than the network, and a subscriber that is slower than the publisher:
 * neither grows without bound.
 * You should see: publishNow() refuse and the `drain` event say when to go on; then a subscriber that
 * holds at most some 20 of 500 messages while the rest waits in the broker's log, and loses none.
 */
import { connect } from 'ringcast/client'

const url = process.env.RINGCAST_URL ?? 'ws://127.0.0.1:8080/ws'

// Above 64 KiB not yet taken by the network, publishNow() returns false and publish() waits.
const publisher = await connect(url, { highWaterMarkBytes: 64 * 1024 })
const payload = 'x'.repeat(1000)
let sent = 0
let refused = 0
while (sent < 20_000) {
  if (publisher.publishNow('examples.flood', payload)) {
    sent++
  } else {
    refused++
    await new Promise((resolve) => publisher.once('drain', resolve))
  }
}
console.log(`sent ${sent} messages; publishNow() said «not now»: ${refused > 0}`)

const subscriber = await connect(url)
let handled = 0
let most = 0
let lost = 0
const slow = subscriber.subscribe(
  'examples.slow',
  async () => {
    await new Promise((resolve) => setTimeout(resolve, 1))
    handled++
    most = Math.max(most, slow.queued)
  },
  { maxInFlight: 20, concurrency: 4 },
)
slow.on('gap', ({ dropped }) => {
  lost += dropped
})
await slow.ready

for (let i = 0; i < 500; i++) {
  await publisher.publish('examples.slow', i)
}
console.log('published 500 messages to a slow subscriber')
while (handled + lost < 500) await new Promise((resolve) => setTimeout(resolve, 10))
console.log(`handled ${handled}, lost ${lost}; held back in the broker: ${most < 500}`)

publisher.close()
subscriber.close()
