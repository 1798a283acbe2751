/**
 * An audit log of everything that happens below a prefix, which goes on where it was after it has been
 * away: it keeps the epoch and seq of the last entry that it has written for each topic.
 * You should see: two entries written, two that happen while the log is away, the log come back and
 * write exactly those two: none missing, none twice.
 */
import { connect } from 'ringcast/client'

const url = process.env.RINGCAST_URL ?? 'ws://127.0.0.1:8080/ws'
const TOPIC = 'examples.audit.accounts'
const services = await connect(url)
const written = []
let place // Kept on disk together with the entries, in real life.

async function runLog(name, count) {
  const client = await connect(url)
  const from = place && { fromSeq: place.seq + 1, epoch: place.epoch }
  const entries = client.subscribe(TOPIC, { clientId: name, ...from })
  entries.on('gap', ({ dropped }) => console.log(`${name}: ${dropped} entries are lost for ever`))
  await entries.ready
  return {
    name,
    finished: (async () => {
      let left = count
      for await (const { payload, headers, seq, epoch } of entries) {
        written.push(payload)
        place = { epoch, seq }
        console.log(`${name}: ${headers.who} ${payload}`)
        if (--left === 0) break
      }
      client.close()
    })(),
  }
}

const does = (who, what) => services.publish(TOPIC, what, { headers: { who } })

const first = await runLog('log 1', 2)
await does('ada', 'opened account 17')
await does('bob', 'paid in 100 EUR')
await first.finished
console.log('the log is away')
await does('ada', 'paid out 30 EUR')
await does('ada', 'closed account 17')

const second = await runLog('log 2', 2)
await second.finished
console.log(`${written.length} entries, ${new Set(written).size} different`)
services.close()
