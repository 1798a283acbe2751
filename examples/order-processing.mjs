/**
 * Orders through three steps, each a subscriber of what the one before publishes. A message id makes
 * a step that is repeated harmless.
 * You should see: each order reserved, paid and shipped in that order; the one that is not in stock
 * rejected; the one that comes twice processed once.
 */
import { connect } from 'ringcast/client'

const client = await connect(process.env.RINGCAST_URL ?? 'ws://127.0.0.1:8080/ws')
const ROOT = 'examples.shop'
const stock = { tea: 5, coffee: 0 }
const seen = new Set()
const finished = []

async function reserve({ id, payload: order }) {
  if (seen.has(id)) return console.log(`order ${order.number}: came twice, ignored`)
  seen.add(id)
  const isThere = stock[order.item] > 0
  if (isThere) stock[order.item]--
  console.log(`order ${order.number}: ${order.item} ${isThere ? 'reserved' : 'not in stock'}`)
  await client.publish(`${ROOT}.${isThere ? 'reserved' : 'rejected'}`, order)
}

async function pay({ payload: order }) {
  console.log(`order ${order.number}: paid ${order.amount.toFixed(2)} EUR`)
  await client.publish(`${ROOT}.paid`, { ...order, paidAt: Date.now() })
}

async function ship({ payload: order }) {
  console.log(`order ${order.number}: shipped`)
  await client.publish(`${ROOT}.shipped`, order)
}

const steps = [
  client.subscribe(`${ROOT}.placed`, reserve),
  client.subscribe(`${ROOT}.reserved`, pay, { retry: { maxAttempts: 3 } }),
  client.subscribe(`${ROOT}.paid`, ship),
]
const endings = [
  client.subscribe(`${ROOT}.shipped`, ({ payload }) => void finished.push(payload.number)),
  client.subscribe(`${ROOT}.rejected`, ({ payload }) => void finished.push(payload.number)),
]
await Promise.all([...steps, ...endings].map((subscription) => subscription.ready))

const once = { id: crypto.randomUUID() }
await client.publish(`${ROOT}.placed`, { number: 1, item: 'tea', amount: 4.5 }, once)
await client.publish(`${ROOT}.placed`, { number: 1, item: 'tea', amount: 4.5 }, once)
await client.publish(`${ROOT}.placed`, { number: 2, item: 'coffee', amount: 7 })
await client.publish(`${ROOT}.placed`, { number: 3, item: 'tea', amount: 9 })

while (finished.length < 3) await new Promise((resolve) => setTimeout(resolve, 5))
console.log(`finished: ${finished.sort().join(' ')}; tea left: ${stock.tea}`)
client.close()
