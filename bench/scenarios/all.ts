/**
 * Every scenario, in the order in which they run.
 * Runs on: the benchmark's main process. Owns: the list.
 */
import { hundredToHundred } from './hundred-to-hundred.js'
import { levels } from './levels.js'
import { manyIdleTopics } from './many-idle-topics.js'
import { oneToHundred } from './one-to-hundred.js'
import { oneToOneBatch64 } from './one-to-one-batch64.js'
import { oneToOneJson } from './one-to-one-json.js'
import { oneToOneSingle } from './one-to-one-single.js'
import { oneToThousand } from './one-to-thousand.js'
import { openLoop50kJson, openLoop50kMsgpack } from './open-loop-50k.js'
import { replayStorm, replayStormNone } from './replay-storm.js'
import type { Scenario } from './scenario.js'
import { sizes } from './sizes.js'
import { slowConsumers, slowConsumersNone } from './slow-consumers.js'
import { wildcardFanOut } from './wildcard-fan-out.js'

export const SCENARIOS: readonly Scenario[] = [
  oneToOneBatch64,
  oneToOneSingle,
  oneToOneJson,
  openLoop50kMsgpack,
  openLoop50kJson,
  oneToHundred,
  oneToThousand,
  hundredToHundred,
  ...sizes,
  ...levels,
  manyIdleTopics,
  wildcardFanOut,
  replayStorm,
  replayStormNone,
  slowConsumers,
  slowConsumersNone,
]
