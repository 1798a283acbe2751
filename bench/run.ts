/**
 * The command `npm run bench`: scenarios by name, or one of the two long measurements.
 * Runs on: the benchmark's main process. Owns: the command line and the exit code.
 */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { checkLines, isCheck, runCheck } from './checks.js'
import { compareSystems, type SystemName } from './compare-systems.js'
import { measureIdleConnections } from './idle-connections.js'
import {
  circumstances,
  circumstancesLine,
  footnotes,
  ratios,
  type ScenarioResult,
  table,
} from './report.js'
import { SCENARIOS } from './scenarios/all.js'
import type { Scenario } from './scenarios/scenario.js'
import { measureSdk } from './sdk/run.js'

const USAGE = `npm run bench -- [scenario …] [options]          all scenarios if none is named
npm run bench -- idle-connections [--connections 10000]
npm run bench -- soak, burst, degradation, regress, scaling, profile [options]   long checks; --list
npm run bench -- sdk [--runs N] [--seconds N]     through the SDK, beside NATS

  --seconds N     measured time of a run (5)
  --runs N        runs per scenario and server, medians are shown (3)
  --json FILE     write everything measured to FILE
  --no-control    leave out the bare uWebSockets.js control
  --only-control  leave out the broker: checks the generator
  --list          name the scenarios`

process.once('SIGINT', () => process.exit(130)) // Servers are killed by server-process.ts.
if (isCheck(process.argv[2])) process.exit(await runCheck(process.argv.slice(2)))
const { values, positionals } = parseCommandLine()
process.exitCode = await main()

async function main(): Promise<number> {
  if (values.list) return list()
  const [first] = positionals
  if (first === 'idle-connections') return measureIdleConnections(count('connections'))
  if (first === 'sdk') return measureSdk(count('runs'), count('seconds'))
  return runScenarios(positionals.length === 0 ? SCENARIOS : positionals.map(scenarioNamed))
}

async function runScenarios(scenarios: readonly Scenario[]): Promise<number> {
  const [seconds, runs] = [count('seconds'), count('runs')]
  const machine = circumstances()
  console.error(circumstancesLine(machine))
  const results: ScenarioResult[] = []
  for (const scenario of scenarios) {
    const progress = (line: string) => console.error(line)
    const options = { seconds, runs, systems: systems(), progress }
    results.push({ scenario, systems: await compareSystems(scenario, options) })
  }
  const parts = [table(results), ratios(results), footnotes(results, runs, seconds)]
  for (const part of parts) if (part !== '') console.log(`\n${part}`)
  if (values.json !== undefined) {
    writeFileSync(values.json, JSON.stringify({ machine, seconds, runs, results }, null, 2))
  }
  return results.some(({ systems }) => systems.some(({ failures }) => failures.length > 0)) ? 1 : 0
}

function systems(): SystemName[] {
  if (values['only-control']) return ['uws']
  return values['no-control'] ? ['ringcast'] : ['ringcast', 'uws']
}

function list(): number {
  for (const { name, question } of SCENARIOS) console.log(`${name.padEnd(24)}${question}`)
  console.log(`${'idle-connections'.padEnd(24)}memory per idle WebSocket connection`)
  for (const line of checkLines()) console.log(line)
  console.log(`${'sdk'.padEnd(24)}rate through the SDK, beside nats-server and its client`)
  return 0
}

function scenarioNamed(name: string): Scenario {
  const scenario = SCENARIOS.find((one) => one.name === name)
  if (!scenario) usageError(`no scenario «${name}»; --list names them`)
  return scenario
}

function count(option: 'seconds' | 'runs' | 'connections'): number {
  const value = Number(values[option])
  if (!(value > 0)) usageError(`--${option} must be a positive number, got ${values[option]}`)
  if (option !== 'seconds' && !Number.isInteger(value)) {
    usageError(`--${option} must be a whole number, got ${values[option]}`)
  }
  return value
}

function parseCommandLine() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        seconds: { type: 'string', default: '5' },
        runs: { type: 'string', default: '3' },
        connections: { type: 'string', default: '10000' },
        json: { type: 'string' },
        'no-control': { type: 'boolean', default: false },
        'only-control': { type: 'boolean', default: false },
        list: { type: 'boolean', default: false },
      },
    })
  } catch (error) {
    return usageError(error instanceof Error ? error.message : String(error))
  }
}

function usageError(text: string): never {
  console.error(`bench: ${text}\n\n${USAGE}`)
  process.exit(2)
}
