/**
 * The command `npm run bench`: scenarios by name, or one of the two long measurements.
 * Runs on: the benchmark's main process. Owns: the command line and the exit code.
 */
import { parseArgs } from 'node:util'
import { checkLines, isCheck, runCheck } from './checks.js'
import { compareSystems, type SystemName } from './compare-systems.js'
import { measureGroups } from './groups/run.js'
import { measureHighestRate } from './highest-rate.js'
import { measureIdleConnections } from './idle-connections.js'
import { NOISE_FLOOR } from './noise-floor.js'
import { circumstances, circumstancesLine } from './report/circumstances.js'
import { compareResults, comparisonText } from './report/compare.js'
import { parseCondition } from './report/metrics.js'
import { metConditions, writeFiles } from './report/output.js'
import { ProgressLine } from './report/progress-line.js'
import { readResults } from './report/results-file.js'
import { footnotes, ratios, type ScenarioResult, table } from './report/systems-table.js'
import { SCENARIOS } from './scenarios/all.js'
import type { Scenario } from './scenarios/scenario.js'

const USAGE = `npm run bench -- [scenario …] [options]          all scenarios if none is named
npm run bench -- noise-floor              the open-loop schedules against the bare control only
npm run bench -- compare before.json after.json
npm run bench -- idle-connections [--connections 10000]
npm run bench -- soak, burst, degradation, regress, scaling, profile [options]   long checks; --list
npm run bench -- highest-rate [--seconds 2]       with p99 under 5 ms; broker and control
npm run bench -- groups [--runs N] [--seconds N]    a consumer group of 8, beside JetStream

  --seconds N     measured time of a run (5)
  --runs N        runs per scenario and server, medians are shown (3)
  --json FILE     write everything measured to FILE
  --html FILE     write a report to look at; the broker then measures its threads (THREAD_TIMINGS)
  --hgrm FILE     write the distribution of latencies, for the plotters of HdrHistogram
  --fail-if EXPR  exit code 3 if it holds for ringcast in a scenario, such as 'p99>5ms' or 'rate<50000';
                  may be given several times
  --no-control    leave out the bare uWebSockets.js control
  --only-control  leave out the broker: checks the generator
  --list          name the scenarios
  --help          this`

/** As `ringcast bench` ends. */
const EXIT_CONDITION = 3

process.once('SIGINT', () => process.exit(130)) // Servers are killed by server-process.ts.
if (isCheck(process.argv[2])) process.exit(await runCheck(process.argv.slice(2)))
const { values, positionals } = parseCommandLine()
process.exitCode = await main()

async function main(): Promise<number> {
  if (values.help) {
    console.log(USAGE)
    return 0
  }
  if (values.list) return list()
  const [first] = positionals
  if (first === 'idle-connections') return measureIdleConnections(count('connections'))
  if (first === 'highest-rate') return measureHighestRate(chosenSystems(), count('seconds'))
  if (first === 'compare') return compare(positionals.slice(1))
  if (first === 'noise-floor') return runScenarios(NOISE_FLOOR, ['uws'])
  if (first === 'groups') return measureGroups(count('runs'), count('seconds'))
  return runScenarios(positionals.length === 0 ? SCENARIOS : positionals.map(scenarioNamed))
}

function compare(files: readonly string[]): number {
  const [before, after] = files
  if (before === undefined || after === undefined) usageError('compare takes two files')
  try {
    console.log(comparisonText(compareResults(readResults(before), readResults(after))))
    return 0
  } catch (error) {
    return usageError(error instanceof Error ? error.message : String(error))
  }
}

function conditions() {
  try {
    return values['fail-if'].map(parseCondition)
  } catch (error) {
    return usageError(error instanceof Error ? error.message : String(error))
  }
}

async function runScenarios(
  scenarios: readonly Scenario[],
  systems: readonly SystemName[] = chosenSystems(),
): Promise<number> {
  const failIf = conditions()
  if (values.html !== undefined) process.env['THREAD_TIMINGS'] ??= 'true'
  const [seconds, runs] = [count('seconds'), count('runs')]
  const machine = circumstances()
  console.error(circumstancesLine(machine))
  const results: ScenarioResult[] = []
  for (const scenario of scenarios) {
    const line = new ProgressLine(process.stderr, `${scenario.name}  `, seconds)
    const progress = (text: string) => {
      line.end()
      console.error(text)
    }
    const options = { seconds, runs, systems, progress, onSecond: line.update }
    results.push({ scenario, systems: await compareSystems(scenario, options) })
  }
  const parts = [table(results), ratios(results), footnotes(results, runs, seconds)]
  for (const part of parts) if (part !== '') console.log(`\n${part}`)
  const file = { machine, seconds, runs, results }
  writeFiles(file, values)
  if (results.some((one) => one.systems.some(({ failures }) => failures.length > 0))) return 1
  const met = metConditions(file, 'ringcast', failIf)
  for (const text of met) console.error(`failed: ${text}`)
  return met.length > 0 ? EXIT_CONDITION : 0
}

function chosenSystems(): SystemName[] {
  if (values['only-control']) return ['uws']
  return values['no-control'] ? ['ringcast'] : ['ringcast', 'uws']
}

function list(): number {
  for (const { name, question } of SCENARIOS) console.log(`${name.padEnd(24)}${question}`)
  console.log(`${'noise-floor'.padEnd(24)}latency of the generator and the machine alone`)
  console.log(`${'highest-rate'.padEnd(24)}highest rate that keeps p99 under 5 ms`)
  console.log(`${'idle-connections'.padEnd(24)}memory per idle WebSocket connection`)
  console.log(`${'groups'.padEnd(24)}acked messages of a consumer group, beside JetStream`)
  for (const line of checkLines()) console.log(line)
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
        html: { type: 'string' },
        hgrm: { type: 'string' },
        'fail-if': { type: 'string', multiple: true, default: [] },
        'no-control': { type: 'boolean', default: false },
        'only-control': { type: 'boolean', default: false },
        list: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
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
