/**
 * Makes topics that nobody uses: one message each, before the load.
 * Runs on: a process of its own, started by companion.ts. Owns: one connection.
 */
import { connect } from '../../src/client/connect.js'
import { listen, tell } from '../load/child.js'
import type { FromCompanion, ToCompanion } from './companion.js'

let topics = 0

listen<ToCompanion<'idle-topics'>>(async (message) => {
  if (message.type === 'finish') {
    tell({ type: 'facts', facts: `${topics} idle topics` } satisfies FromCompanion)
  }
  if (message.type !== 'setup') return
  const { host, port } = message.target
  const client = await connect(`ws://${host}:${port}/ws`, { codec: 'bytes' })
  const payload = new Uint8Array(message.plan.payloadBytes)
  const all = Array.from({ length: message.spec.topics }, (_, i) =>
    client.publish(`idle.${i}`, payload),
  )
  topics = (await Promise.all(all)).length
  client.close()
  tell({ type: 'ready' } satisfies FromCompanion)
})
