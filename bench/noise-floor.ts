/**
 *   p1  ─→ topic 1  ─→ s1
 *   …   bare forwarding   …        the open-loop schedules, same generator, against the control
 *   p10 ─→ topic 10 ─→ s10
 *
 * Question: how much of a latency is generator, kernel and machine? What the broker is said to take
 * cannot be less than this. Beside each open-loop scenario it is printed anyway, since the control runs
 * in turn with the broker; here it is by itself.
 */
import { openLoop50kJson, openLoop50kMsgpack } from './scenarios/open-loop-50k.js'
import type { Scenario } from './scenarios/scenario.js'

export const NOISE_FLOOR: readonly Scenario[] = [openLoop50kMsgpack, openLoop50kJson].map(
  (scenario) => ({ ...scenario, name: `noise-floor-${scenario.plan.encoding}` }),
)
