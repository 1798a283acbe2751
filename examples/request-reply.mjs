/**
 * A price service that answers requests; two warehouses that are asked at once. Replies go straight to
 * the asking connection: no topic of their own, nothing to clean up.
 * You should see: no responders, a price, a failure with its reason, the stock of both warehouses, a
 * timeout.
 */
import { connect, RequestFailedError } from 'ringcast/client'

const url = process.env.RINGCAST_URL ?? 'ws://127.0.0.1:8080/ws'
const PRICE = 'examples.prices.get'
const STOCK = 'examples.stock.count'
const SLOW = 'examples.prices.forecast'
const client = await connect(url)

// Nobody answers yet: that is said at once, not after the timeout.
try {
  await client.request(PRICE, 'tea')
} catch (error) {
  console.log(`${error.name}, retryable: ${error.retryable}`)
}

const prices = { tea: 4.5, milk: 1.2 }
const service = await connect(url)
const answering = service.respond(PRICE, ({ payload: product }) => {
  if (!(product in prices)) throw new Error(`no such product: ${product}`)
  return prices[product]
})
await answering.ready

const { payload } = await client.request(PRICE, 'tea', { timeoutMs: 2000 })
console.log(`tea costs ${payload}`)

try {
  await client.request(PRICE, 'gold')
} catch (error) {
  console.log(`${error.name}: ${error.message}`)
}

// Scatter-gather: everybody who listens answers.
const stock = { north: 3, south: 4 }
const warehouses = []
for (const [name, count] of Object.entries(stock)) {
  const warehouse = await connect(url)
  await warehouse.respond(STOCK, () => ({ name, count })).ready
  warehouses.push(warehouse)
}
let total = 0
for await (const reply of client.requestMany(STOCK, 'tea', { max: 2, timeoutMs: 2000 })) {
  if (reply instanceof RequestFailedError) throw reply
  total += reply.payload.count
}
console.log(`in stock: ${total}`)

// A responder that takes too long: its reply finds nobody waiting, and is dropped.
let replyLate
await service.respond(
  SLOW,
  () =>
    new Promise((resolve) => {
      replyLate = resolve
    }),
).ready
try {
  await client.request(SLOW, 'tea', { timeoutMs: 100 })
} catch (error) {
  console.log(`${error.name}, retryable: ${error.retryable}`)
}
replyLate?.(5.1)

for (const warehouse of warehouses) warehouse.close()
await service.drain()
console.log(
  `late replies: ${client.requestStats.lateReplies}, pending: ${client.requestStats.pending}`,
)
client.close()
