/**
 * A queue of jobs that three workers share: every job goes to one of them, a job that fails comes
 * again, and the work of one that dies goes to the others. Jobs of one customer keep their order.
 * You should see: every job done once, a job that came twice, and the work of a worker that went away.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from 'ringcast/client'

const url = process.env.RINGCAST_URL ?? 'ws://127.0.0.1:8080/ws'
const TOPIC = 'examples.jobs'
const GROUP = 'workers'
const JOBS = 30
const done = new Map()
const byCustomer = new Map()
let hasFailed = false

async function work({ payload: { job, customer }, attempt }) {
  await sleep(2)
  if (job === 7 && !hasFailed) {
    hasFailed = true
    throw new Error('the printer is on fire')
  }
  if (job === 7) console.log(`job 7 came again: ${attempt > 1}`)
  done.set(job, (done.get(job) ?? 0) + 1)
  byCustomer.set(customer, [...(byCustomer.get(customer) ?? []), job])
}

const options = { ordered: 'key', backoff: [20], concurrency: 4, start: 'earliest' }
const workers = []
for (let number = 1; number <= 3; number++) {
  const client = await connect(url)
  const consumer = client.consume(TOPIC, GROUP, work, { ...options, clientId: `worker ${number}` })
  consumer.on('failure', (error, { payload }) => {
    console.log(`job ${payload.job} failed: ${error.cause.message}`)
  })
  await consumer.ready
  workers.push(client)
}

const publisher = await connect(url)
for (let job = 1; job <= JOBS; job++) {
  const customer = `customer ${job % 5}`
  await publisher.publish(TOPIC, { job, customer }, { key: customer })
  if (job === 10) {
    workers.pop().close() // It dies with work in its hands.
    console.log('worker 3 went away')
  }
}

for (let waits = 0; done.size < JOBS && waits < 500; waits++) await sleep(10)
console.log(`${done.size} of ${JOBS} jobs done`)
const isInOrder = [...byCustomer.values()].every((jobs) =>
  [...new Set(jobs)].every((job, index, all) => index === 0 || job > all[index - 1]),
)
console.log(`in order per customer: ${isInOrder}`)

for (const client of workers) await client.drain() // Finishes what runs, acks it, and leaves.
await publisher.drain()
