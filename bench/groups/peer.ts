/**
 * One end of the benchmark of groups: a process that publishes, or one with several members.
 * Runs on: a child process of bench/groups/run.ts. Owns: its connections.
 *
 * argv: role, queue, port, payload bytes, members. To the parent: {ready}, {count}. The publisher stays
 * at most WINDOW messages ahead of what all members have acked: less than fills the ring of a shard.
 */
import { openQueue, type QueueName } from './link.js'

const WINDOW = 16_384
/** Messages between two turns of the event loop. */
const BURST = 512
const REPORT_MS = 2

const [role, name, port, size, members] = process.argv.slice(2)
const tell = (message: object) => process.send?.(message)
const open = () => openQueue(name as QueueName, Number(port))

let credit = WINDOW
process.on('message', (message: { acked: number }) => {
  credit = message.acked + WINDOW
})
process.on('disconnect', () => process.exit(0))

if (role === 'prepare') {
  await (await open()).prepare()
  tell({ ready: true })
} else if (role === 'publish') {
  await publish()
} else {
  await consume()
}

async function consume(): Promise<void> {
  let count = 0
  for (let member = 0; member < Number(members); member++) {
    await (await open()).consume(() => {
      count++
    })
  }
  tell({ ready: true })
  setInterval(() => tell({ count }), REPORT_MS)
}

async function publish(): Promise<void> {
  const link = await open()
  const payload = new Uint8Array(Number(size))
  tell({ ready: true })
  for (let sent = 0; ; ) {
    for (let burst = 0; burst < BURST && sent < credit; burst++) {
      if (!link.publish(payload)) {
        await link.room()
        break
      }
      sent++
    }
    await new Promise((resolve) => setImmediate(resolve))
  }
}
