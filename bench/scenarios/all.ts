/**
 * Every scenario, in the order in which they run.
 * Runs on: the benchmark's main process. Owns: the list.
 */
import { oneToHundred } from './one-to-hundred.js'
import { oneToOneBatch64 } from './one-to-one-batch64.js'
import { oneToOneJson } from './one-to-one-json.js'
import { oneToOneSingle } from './one-to-one-single.js'
import { openLoop50kJson, openLoop50kMsgpack } from './open-loop-50k.js'
import type { Scenario } from './scenario.js'

export const SCENARIOS: readonly Scenario[] = [
  oneToOneBatch64,
  oneToOneSingle,
  oneToOneJson,
  openLoop50kMsgpack,
  openLoop50kJson,
  oneToHundred,
]
