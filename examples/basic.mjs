/**
 * Connect, subscribe, publish, leave.
 * You should see: three orders arrive in the order in which they were published, then a goodbye.
 */
import { connect } from 'ringcast/client'

const client = await connect(process.env.RINGCAST_URL ?? 'ws://127.0.0.1:8080/ws')
console.log(`connected: ${client.state}`)

const orders = client.subscribe('examples.basic')
await orders.ready // The broker has it: what is published from here on will come.

for (const item of ['tea', 'coffee', 'milk']) {
  await client.publish('examples.basic', { item }) // Resolves once the broker has stored it.
  console.log(`published ${item}`)
}

let seen = 0
for await (const { topic, payload } of orders) {
  console.log(`received ${payload.item} from ${topic}`)
  if (++seen === 3) break // Unsubscribes.
}

await client.drain() // Lets what is under way finish, then closes.
console.log('goodbye')
