/**
 * One publisher, three subscribers with patterns: * is one segment, # any number of them.
 * You should see: which of the patterns each topic reached. «orders.*» does not see orders.eu.created,
 * which has one segment more.
 */
import { connect } from 'ringcast/client'

const client = await connect(process.env.RINGCAST_URL ?? 'ws://127.0.0.1:8080/ws')
const ROOT = 'examples.routing'

const reached = new Map()
for (const pattern of ['orders.*', 'orders.#', '#.created']) {
  const note = ({ topic }) => {
    const short = topic.slice(ROOT.length + 1)
    reached.set(short, [...(reached.get(short) ?? []), pattern])
  }
  await client.subscribe(`${ROOT}.${pattern}`, note).ready
}

const topics = ['orders.created', 'orders.eu.created', 'orders.eu', 'users.created', 'users.gone']
for (const topic of topics) await client.publish(`${ROOT}.${topic}`, {})
const received = () => [...reached.values()].flat().length
while (received() < 8) await new Promise((resolve) => setTimeout(resolve, 5))

for (const topic of topics) {
  console.log(`${topic.padEnd(18)} → ${(reached.get(topic) ?? ['nobody']).sort().join('  ')}`)
}
client.close()
