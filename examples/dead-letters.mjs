/**
 * Messages that cannot be handled do not block the queue: after a few attempts, or at once if trying
 * again is pointless, they are put aside with the reason. Once the cause is mended they go again.
 * You should see: two dead letters and why, then both handled after they were replayed.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { connect, NonRetryableError } from 'ringcast/client'

const url = process.env.RINGCAST_URL ?? 'ws://127.0.0.1:8080/ws'
const door = url.replace(/^ws/, 'http').replace(/\/ws$/, '')
const TOPIC = 'examples.invoices'
const client = await connect(url)

let isBankOpen = false
const paid = []
const consumer = client.consume(
  TOPIC,
  'payments',
  ({ payload: { invoice, amount } }) => {
    if (amount === undefined && !isBankOpen) throw new NonRetryableError('an invoice of nothing')
    if (amount > 1000 && !isBankOpen) throw new Error('the bank is closed')
    paid.push(invoice)
  },
  { maxDeliver: 3, backoff: [10], start: 'earliest' },
)
await consumer.ready

const letters = []
const watching = client.subscribe(`$dlq.${TOPIC}`, ({ payload, headers }) =>
  letters.push({ ...payload, ...headers }),
)
await watching.ready

await client.publish(TOPIC, { invoice: 1, amount: 10 })
await client.publish(TOPIC, { invoice: 2 })
await client.publish(TOPIC, { invoice: 3, amount: 5000 })
await client.publish(TOPIC, { invoice: 4, amount: 20 })

for (let waits = 0; letters.length < 2 && waits < 500; waits++) await sleep(10)
console.log(`paid: ${paid.join(', ')}`)
for (const letter of letters) {
  const { invoice, 'dlq-reason': reason, 'dlq-attempts': attempts } = letter
  console.log(`invoice ${invoice}: ${reason} after ${attempts} attempt(s), ${letter['dlq-error']}`)
}

isBankOpen = true
const answer = await fetch(`${door}/topics/${TOPIC}/dead-letters/replay`, {
  method: 'POST',
  body: JSON.stringify({ all: true }),
})
console.log(`replayed: ${(await answer.json()).replayed}`)
for (let waits = 0; paid.length < 4 && waits < 500; waits++) await sleep(10)
console.log(`paid: ${paid.sort((one, other) => one - other).join(', ')}`)
await client.drain()
