/**
 * The command `npm run bench:micro [-- group …]`: single steps of the message path, one thread each.
 * Runs on: the benchmark's main process. Owns: the command line and the exit code.
 */
import { circumstances, circumstancesLine } from '../report/circumstances.js'
import { GROUPS, type GroupName, isGroupName, runGroup } from './all.js'
import type { MicroResult } from './case.js'

const NAMES = Object.keys(GROUPS) as GroupName[]
const USAGE = `npm run bench:micro [-- group …]   groups: ${NAMES.join(', ')}; all if none is named`

process.exitCode = await main(process.argv.slice(2))

async function main(args: readonly string[]): Promise<number> {
  const wrong = args.find((arg) => !isGroupName(arg))
  if (wrong !== undefined) {
    console.error(`bench:micro: no group «${wrong}»\n\n${USAGE}`)
    return 2
  }
  console.error(circumstancesLine(circumstances()))
  for (const name of args.length === 0 ? NAMES : args.filter(isGroupName)) {
    console.log(`\n${table(await runGroup(name, 'full'))}`)
  }
  console.log(
    '\nns/op is the median, divided by the operations of a call; ± is the margin of the mean.',
  )
  return 0
}

function table(results: readonly MicroResult[]): string {
  const rows = results.map((result) => [
    result.name,
    result.nanoseconds.toFixed(result.nanoseconds < 100 ? 1 : 0),
    `± ${result.marginPercent.toFixed(1)} %`,
    Math.round(result.perSecond).toLocaleString('en'),
    Number.isNaN(result.gigabytesPerSecond) ? '-' : result.gigabytesPerSecond.toFixed(2),
  ])
  const lines = [[results[0]?.group ?? '', 'ns/op', '', 'op/s', 'GB/s'], ...rows]
  const widths = [0, 1, 2, 3, 4].map((column) =>
    Math.max(...lines.map((line) => line[column]?.length ?? 0)),
  )
  const pad = (cell: string, column: number) =>
    column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0)
  return lines.map((line) => line.map(pad).join('  ')).join('\n')
}
