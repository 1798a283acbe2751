/**
 * Many subscribers who connect at once and resume at the beginning of a log.
 * Runs on: a process of its own, started by companion.ts. Owns: their connections.
 *
 * Every one of them has to get each message of the log once and in order; else the run fails.
 */
import type { Client } from '../../src/client/client.js'
import { connect } from '../../src/client/connect.js'
import { listen, tell } from '../load/child.js'
import { nowMs } from '../load/clock.js'
import type { CompanionSetup, FromCompanion, ToCompanion } from './companion.js'

const TOPIC = 'storm.log'
const STORM_MS_MAX = 20_000

let setup: CompanionSetup<'replay-storm'> | undefined
let epoch = ''
let storm: Promise<string> | undefined

listen<ToCompanion<'replay-storm'>>(async (message) => {
  if (message.type === 'setup') await writeLog(message)
  else if (message.type === 'begin') storm = begin()
  else {
    const facts = (await storm) ?? 'the load was over before the storm began'
    tell({ type: 'facts', facts } satisfies FromCompanion)
  }
})

async function writeLog(message: CompanionSetup<'replay-storm'>): Promise<void> {
  setup = message
  const client = await open(message)
  const payload = new Uint8Array(message.plan.payloadBytes)
  const all = Array.from({ length: message.spec.messages }, () => client.publish(TOPIC, payload))
  const [first] = await Promise.all(all)
  epoch = first?.epoch ?? ''
  client.close()
  tell({ type: 'ready' } satisfies FromCompanion)
}

async function begin(): Promise<string> {
  if (!setup) throw new Error('begin before setup')
  const { subscribers, messages } = setup.spec
  const beganMs = nowMs()
  const all = Array.from({ length: subscribers }, () => resume(setup))
  const took = await Promise.all(all)
  const lastMs = nowMs() - beganMs
  const perSecond = Math.round((subscribers * messages * 1e3) / lastMs).toLocaleString('en')
  const middle = took.sort((a, b) => a - b)[Math.floor(took.length / 2)] ?? 0
  return (
    `${subscribers} subscribers resumed ${messages} messages each: half of them had all after ` +
    `${Math.round(middle)} ms, the last after ${Math.round(lastMs)} ms (${perSecond} deliveries/s)`
  )
}

/** Returns after how many ms the log was there, connecting included. */
async function resume(given: CompanionSetup<'replay-storm'> | undefined): Promise<number> {
  if (!given) throw new Error('begin before setup')
  const beganMs = nowMs()
  const client = await open(given)
  await new Promise<void>((resolve, reject) => {
    const tooLate = () => reject(new Error(`not caught up within ${STORM_MS_MAX} ms`))
    setTimeout(tooLate, STORM_MS_MAX).unref()
    let next = 1
    const subscription = client.subscribe(
      TOPIC,
      ({ seq }) => {
        if (seq !== next) reject(new Error(`message ${seq} came when ${next} was due`))
        next = seq + 1
        if (next > given.spec.messages) resolve()
      },
      { epoch, fromSeq: 1 },
    )
    subscription.on('gap', ({ dropped }) => reject(new Error(`${dropped} messages were gone`)))
  })
  return nowMs() - beganMs
}

function open({ target }: CompanionSetup<'replay-storm'>): Promise<Client> {
  return connect(`ws://${target.host}:${target.port}/ws`, { codec: 'bytes' })
}
