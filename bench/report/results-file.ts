/**
 * The JSON file of a benchmark: what `npm run bench` and `ringcast bench` write, and what
 * `bench compare` reads.
 * Runs on: the benchmark's main process. Owns: the shape of the file.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import type { LoadResult } from '../load/coordinator.js'
import type { LoadPlan } from '../load/plan.js'
import type { Circumstances } from './circumstances.js'

export interface ResultsFile {
  readonly machine: Circumstances
  readonly seconds: number
  readonly results: readonly ScenarioRuns[]
}

/** Of a scenario only what the reader of a report needs. */
export interface ScenarioRuns {
  readonly scenario: { readonly name: string; readonly plan: LoadPlan }
  readonly systems: readonly SystemRuns[]
}

export interface SystemRuns {
  readonly system: string
  readonly runs: readonly LoadResult[]
  readonly failures: readonly string[]
}

export function writeResults(file: string, results: ResultsFile): void {
  writeFileSync(file, `${JSON.stringify(results, null, 2)}\n`)
}

/** Throws an Error whose message says what is wrong with the file. */
export function readResults(file: string): ResultsFile {
  let parsed: unknown
  try {
    parsed = JSON.parse(readFileSync(file, 'utf8'))
  } catch (error) {
    throw new Error(`${file}: ${error instanceof Error ? error.message : String(error)}`)
  }
  if (!isResults(parsed)) throw new Error(`${file}: not written by a benchmark of ringcast`)
  return parsed
}

function isResults(value: unknown): value is ResultsFile {
  const { machine, results } = (value ?? {}) as Partial<Record<keyof ResultsFile, unknown>>
  return (
    typeof machine === 'object' &&
    machine !== null &&
    Array.isArray(results) &&
    results.every(({ scenario, systems } = {}) => {
      return typeof scenario?.name === 'string' && Array.isArray(systems)
    })
  )
}
