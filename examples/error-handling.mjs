/**
 * A handler that fails: it is tried again, then its circuit breaker opens and the subscription waits.
 * Nothing is lost, and the handler next to it never notices.
 * You should see: «payments» fail while its service is down, the breaker open, try one message
 * (half-open), close when the service is back, and all five payments done. «statistics» counts on.
 */
import { connect } from 'ringcast/client'

const client = await connect(process.env.RINGCAST_URL ?? 'ws://127.0.0.1:8080/ws')
const TOPIC = 'examples.payments'
let isServiceUp = false
let counted = 0
const done = []

async function pay({ payload }, { attempt, signal }) {
  await new Promise((resolve) => setTimeout(resolve, 5)) // Stands for the call of a service.
  if (!isServiceUp) {
    console.log(`payment ${payload.id}, try ${attempt}: service down`)
    throw new Error('service down')
  }
  signal.throwIfAborted() // Given up after timeoutMs; a real service would get the signal.
  done.push(payload.id)
  console.log(`payment ${payload.id} done`)
}

const payments = client.subscribe(TOPIC, pay, {
  timeoutMs: 1000,
  retry: { maxAttempts: 10, baseMs: 20, maxMs: 100 },
  breaker: { threshold: 3, halfOpenAfterMs: 200 },
})
payments.on('breaker', (state) => {
  console.log(`breaker ${state}`)
  if (state === 'open') setTimeout(() => (isServiceUp = true), 100)
})
payments.on('failure', (error) => console.log(`given up: ${error.message}`))
await payments.ready

// A client of its own: a connection takes one subscription to each topic.
const other = await connect(client.url)
const statistics = other.subscribe(TOPIC, () => void counted++)
await statistics.ready

for (let id = 1; id <= 5; id++) await client.publish(TOPIC, { id })
while (counted < 5) await new Promise((resolve) => setTimeout(resolve, 5))
console.log(`statistics counted ${counted}`)
while (done.length < 5) await new Promise((resolve) => setTimeout(resolve, 20))
console.log(`payments done in order: ${done.join(' ')}`)

// Errors have a code, and say whether trying again may help.
try {
  await client.publish('a bad topic', {})
} catch (error) {
  console.log(`${error.name} ${error.code}, retryable: ${error.retryable}`)
}
client.close()
other.close()
