/**
 * Writes the files that a benchmark was asked for, and looks at its conditions.
 * Runs on: the benchmark's main process. Owns: those files.
 */
import { writeFileSync } from 'node:fs'
import { parse } from 'node:path'
import { countedRuns } from './compare.js'
import { hgrmText } from './hgrm.js'
import { htmlReport } from './html.js'
import { type Condition, figureOf, figureText, isMet } from './metrics.js'
import { type ResultsFile, writeResults } from './results-file.js'

export interface OutputFiles {
  readonly json?: string | undefined
  readonly hgrm?: string | undefined
  readonly html?: string | undefined
}

export function writeFiles(results: ResultsFile, { json, hgrm, html }: OutputFiles): void {
  if (json !== undefined) writeResults(json, results)
  if (html !== undefined) writeFileSync(html, htmlReport(results))
  if (hgrm === undefined) return
  const parts = results.results.flatMap(({ scenario, systems }) =>
    systems
      .filter(({ runs }) => runs.length > 0)
      .map(({ system, runs }) => ({ name: `${scenario.name}-${system}`, runs })),
  )
  for (const { name, runs } of parts) {
    const text = hgrmText(countedRuns(runs).map(({ latencies }) => latencies))
    writeFileSync(parts.length === 1 ? hgrm : withName(hgrm, name), text)
  }
}

/** `out.hgrm` and a name: `out-name.hgrm`. A plotter takes one distribution per file. */
function withName(file: string, name: string): string {
  const { dir, name: base, ext } = parse(file)
  return `${dir === '' ? '' : `${dir}/`}${base}-${name}${ext}`
}

/** One line for each condition that this system's runs meet in some scenario, hence fail by. */
export function metConditions(
  { results }: ResultsFile,
  system: string,
  conditions: readonly Condition[],
): string[] {
  return results.flatMap(({ scenario, systems }) => {
    const runs = systems.find((one) => one.system === system)?.runs
    if (runs === undefined) return []
    // Losses count wherever they were, as in the reports; of the rest, void runs say nothing.
    return conditions
      .map((condition) => {
        const isLoss = condition.metric === 'lost' || condition.metric === 'repeated'
        return { condition, counted: isLoss ? runs : countedRuns(runs) }
      })
      .filter(({ condition, counted }) => isMet(condition, counted))
      .map(({ condition: { text, metric }, counted }) => {
        return `${scenario.name}: ${text}, it is ${figureText(metric, figureOf(metric, counted))}`
      })
  })
}
