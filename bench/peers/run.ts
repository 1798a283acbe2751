/**
 * The command `npm run bench:peers`: ringcast beside other systems, through each one's Node client.
 * Runs on: the benchmark's main process. Owns: the command line and the exit code.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { parseArgs } from 'node:util'
import { circumstances, circumstancesLine } from '../report/circumstances.js'
import { comparePeers } from './compare.js'
import { pictureIn, withTables } from './document.js'
import { installPeers } from './install.js'
import { plot } from './plot.js'
import { markdown, type PeerReport } from './report.js'
import { PEER_SCENARIOS, type PeerScenario } from './scenarios.js'
import { missing, SYSTEMS, type System } from './systems.js'

const USAGE = `npm run bench:peers -- [options]

  --install         install what is compared: servers from Debian, clients from npm; then stop
  --runs N          runs per system, medians are shown (5)
  --seconds N       measured time of a run (2)
  --systems A,B     only these; --list names them
  --scenarios A,B   only these
  --json FILE       write everything measured to FILE
  --plot FILE       write the picture (SVG) to FILE
  --markdown FILE   write the tables to FILE as well
  --into FILE       put tables, and the picture of --plot, between the markers of a document
  --from FILE       measure nothing: tables and picture of a JSON file of before
  --list            name systems and scenarios
  --help            this`

const values = parseCommandLine()

// Servers and ends are killed by those who started them.
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => process.exit(130))
}
process.exitCode = await main()

async function main(): Promise<number> {
  if (values.install) return installPeers()
  if (values.help) {
    console.log(USAGE)
    return 0
  }
  if (values.list) return list()
  const report = values.from === undefined ? await measured() : readReport(values.from)
  const tables = markdown(report)
  console.log(tables)
  if (values.json !== undefined && values.from === undefined) {
    writeFileSync(values.json, `${JSON.stringify(report, null, 2)}\n`)
  }
  if (values.markdown !== undefined) writeFileSync(values.markdown, `${tables}\n`)
  if (values.plot !== undefined) {
    mkdirSync(dirname(values.plot), { recursive: true })
    writeFileSync(values.plot, plot(report))
  }
  if (values.into !== undefined) {
    const picture = values.plot === undefined ? [] : [pictureIn(values.into, values.plot)]
    const parts = [...picture, tables].join('\n\n')
    writeFileSync(values.into, withTables(readFileSync(values.into, 'utf8'), parts))
  }
  const outcomes = report.comparisons.flatMap((one) => Object.values(one.outcomes).flat())
  return outcomes.some(({ failure }) => failure !== undefined) ? 1 : 0
}

async function measured(): Promise<PeerReport> {
  const machine = circumstances()
  console.error(circumstancesLine(machine))
  const [runs, seconds] = [count('runs'), count('seconds')]
  const scenarios = chosen<PeerScenario>(PEER_SCENARIOS, values.scenarios)
  const systems = chosen<System>(SYSTEMS, values.systems)
  const progress = (line: string) => console.error(line)
  const comparisons = await comparePeers({ systems, scenarios, runs, seconds, progress })
  return { machine, runs, seconds, scenarios, comparisons }
}

function list(): number {
  console.log('systems')
  for (const system of SYSTEMS) {
    console.log(`  ${system.name.padEnd(20)}${missing(system) ?? 'ready'}`)
  }
  console.log('scenarios')
  for (const { name, title } of PEER_SCENARIOS) console.log(`  ${name.padEnd(20)}${title}`)
  return 0
}

function readReport(file: string): PeerReport {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as PeerReport
  } catch (error) {
    return usageError(`cannot read ${file}: ${error instanceof Error ? error.message : error}`)
  }
}

function chosen<T extends { readonly name: string }>(
  all: readonly T[],
  names: string | undefined,
): readonly T[] {
  return names === undefined
    ? all
    : names.split(',').map((name) => {
        const one = all.find((candidate) => candidate.name === name)
        return one ?? usageError(`there is no «${name}»; --list names them`)
      })
}

function count(option: 'runs' | 'seconds'): number {
  const value = Number(values[option])
  if (!(value > 0) || (option === 'runs' && !Number.isInteger(value))) {
    usageError(`--${option} must be a positive number, got ${values[option]}`)
  }
  return value
}

function parseCommandLine() {
  try {
    return parseArgs({
      options: {
        install: { type: 'boolean', default: false },
        runs: { type: 'string', default: '5' },
        seconds: { type: 'string', default: '2' },
        systems: { type: 'string' },
        scenarios: { type: 'string' },
        json: { type: 'string' },
        plot: { type: 'string' },
        markdown: { type: 'string' },
        from: { type: 'string' },
        into: { type: 'string' },
        list: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    }).values
  } catch (error) {
    return usageError(error instanceof Error ? error.message : String(error))
  }
}

function usageError(text: string): never {
  console.error(`bench:peers: ${text}\n\n${USAGE}`)
  process.exit(2)
}
