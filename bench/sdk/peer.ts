/**
 * One end of the SDK benchmark: a process that publishes, or one that subscribes.
 * Runs on: a child process of bench/sdk/run.ts. Owns: one connection.
 *
 * argv: role, library, port, mode, payload bytes. Messages to the parent: {ready}, {count}, {done}.
 * The publisher stays at most WINDOW messages ahead of what the subscriber has counted.
 */
import { type LinkName, openLink } from './link.js'

const TOPIC = 'bench.sdk'
const WINDOW = 65_536
const CONFIRMED_WINDOW = 8192
/** Messages between two turns of the event loop: what an application loop would do at most. */
const BURST = 512
const REPORT_MS = 2

const [role, library, port, mode, size] = process.argv.slice(2)
const link = await openLink(library as LinkName, Number(port))
const payload = new Uint8Array(Number(size))
const tell = (message: object) => process.send?.(message)

let credit = WINDOW
let isOver = false
process.on('message', (message: { delivered?: number; stop?: true }) => {
  if (message.delivered !== undefined) credit = message.delivered + WINDOW
  if (message.stop) isOver = true
})

if (role === 'subscribe') await subscribe()
else if (mode === 'now') await publishNow()
else await publishConfirmed()
await link.close()
process.exit(0)

async function subscribe(): Promise<void> {
  let count = 0
  await link.subscribe(TOPIC, () => {
    count++
  })
  tell({ ready: true })
  while (!isOver) {
    await new Promise((resolve) => setTimeout(resolve, REPORT_MS))
    tell({ count, lost: link.lost })
  }
}

async function publishNow(): Promise<void> {
  tell({ ready: true })
  let sent = 0
  while (!isOver) {
    for (let burst = 0; burst < BURST && sent < credit; burst++) {
      if (!link.publishNow(TOPIC, payload)) {
        await link.room()
        break
      }
      sent++
    }
    await new Promise((resolve) => setImmediate(resolve))
  }
}

async function publishConfirmed(): Promise<void> {
  tell({ ready: true })
  let waiting = 0
  let sent = 0
  while (!isOver) {
    while (waiting < CONFIRMED_WINDOW && sent < credit) {
      waiting++
      sent++
      link.publish(TOPIC, payload).then(
        () => {
          waiting--
        },
        (error: unknown) => {
          throw error
        },
      )
    }
    await new Promise((resolve) => setImmediate(resolve))
  }
}
