/**
 * Mails for events of several services: sent by a mail server that fails now and then, four at once,
 * each tried three times; what cannot be sent goes to a topic of its own instead of being lost.
 * You should see: mails sent, one of them at the second try, and one that ends in the dead letters.
 */
import { connect } from 'ringcast/client'

const client = await connect(process.env.RINGCAST_URL ?? 'ws://127.0.0.1:8080/ws')
const ROOT = 'examples.mail'
let handled = 0

const templates = {
  'user.registered': ({ name }) => `Welcome, ${name}!`,
  'invoice.due': ({ name, amount }) => `${name}, please pay ${amount} EUR.`,
  'password.forgotten': ({ name }) => `${name}, here is your link.`,
}

/** Stands for an SMTP server: slow for everybody, moody for some. */
async function send(to, text, attempt) {
  await new Promise((resolve) => setTimeout(resolve, 10))
  if (to.endsWith('@nowhere.example')) throw new Error('no such mailbox')
  if (to === 'bob@example.com' && attempt === 1) throw new Error('try again later')
  console.log(`to ${to}: ${text}${attempt > 1 ? ` (try ${attempt})` : ''}`)
}

const mails = client.subscribe(
  `${ROOT}.events.#`,
  async ({ topic, payload }, { attempt }) => {
    const event = topic.slice(`${ROOT}.events.`.length)
    await send(payload.to, templates[event](payload), attempt)
    handled++
  },
  { concurrency: 4, timeoutMs: 5000, retry: { maxAttempts: 3, baseMs: 20, maxMs: 50 } },
)
mails.on('failure', async ({ cause }, { payload, topic, id }) => {
  const headers = { reason: cause.message, topic }
  await client.publish(`${ROOT}.dead`, payload, { headers, id })
})
const dead = client.subscribe(`${ROOT}.dead`, ({ payload, headers }) => {
  console.log(`dead letter for ${payload.to}: ${headers.reason}`)
  handled++
})
await Promise.all([mails.ready, dead.ready])

const events = [
  ['user.registered', { to: 'ada@example.com', name: 'Ada' }],
  ['user.registered', { to: 'bob@example.com', name: 'Bob' }],
  ['invoice.due', { to: 'cleo@nowhere.example', name: 'Cleo', amount: 12 }],
  ['password.forgotten', { to: 'dan@example.com', name: 'Dan' }],
]
for (const [event, payload] of events) await client.publish(`${ROOT}.events.${event}`, payload)

while (handled < events.length) await new Promise((resolve) => setTimeout(resolve, 10))
console.log(`${handled} events handled`)
client.close()
