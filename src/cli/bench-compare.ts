/**
 * `ringcast bench compare before.json after.json`: two files of results side by side.
 * Runs on: the command's process.
 */
import type { Command } from 'commander'
import { compareResults, comparisonText } from '../../bench/report/compare.js'
import { readResults } from '../../bench/report/results-file.js'
import { Exit } from './exit-codes.js'
import { Failure } from './failure.js'
import { optionsOf } from './options.js'
import type { Terminal } from './terminal.js'

const HELP = `
The files are those of --json-file, or of \`npm run bench -- --json\`. Several runs count by their median,
without those that are void. A difference of 5 % and less is not called better or worse.

Example:
  ringcast bench compare before.json after.json`

export function addBenchCompare(bench: Command, terminal: Terminal): void {
  bench
    .command('compare')
    .description('print how two files of results differ')
    .argument('<before>', 'file of the runs before')
    .argument('<after>', 'file of the runs after')
    .addHelpText('after', HELP)
    .action((before: string, after: string, _: unknown, command: Command) =>
      compare(terminal, [before, after], optionsOf(command).json),
    )
}

async function compare(
  terminal: Terminal,
  [before, after]: readonly [string, string],
  json: true | undefined,
): Promise<void> {
  let comparisons: ReturnType<typeof compareResults>
  try {
    comparisons = compareResults(readResults(before), readResults(after))
  } catch (error) {
    throw new Failure(Exit.failed, error instanceof Error ? error.message : String(error))
  }
  if (!json) return terminal.print(comparisonText(comparisons))
  for (const comparison of comparisons) await terminal.printJson(comparison)
}
