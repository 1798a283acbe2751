/**
 * What more cores would give, on paper: rates that follow from what a message costs each thread.
 * Runs on: the benchmark's main process. Owns: nothing; pure.
 *
 *   f   CPU ns of the front thread per message, in and out         measured
 *   s   CPU ns of a shard per message                              measured
 *   e   ns to write a message into one outbound ring more          measured (copy, and a ring record)
 *
 *   N gateways, each with its share of the connections, and W shards, each with its share of the topics:
 *
 *     rate(N, W) = min( N × 10⁹ / f ,  W × 10⁹ / (s + (N − 1) × e) )
 *
 * It supposes that connections and topics spread evenly, that every gateway has a subscriber of every
 * topic (hence e), that each thread has a core to itself, and that batches stay as large as they were
 * when f and s were measured. Cores N + W are the broker's; clients need others.
 */

export interface Costs {
  readonly f: number
  readonly s: number
  readonly e: number
}

export interface Split {
  readonly gateways: number
  readonly shards: number
  readonly rate: number
}

const NS_PER_SECOND = 1e9

export function rateOf({ f, s, e }: Costs, gateways: number, shards: number): number {
  const front = (gateways * NS_PER_SECOND) / f
  const back = (shards * NS_PER_SECOND) / (s + (gateways - 1) * e)
  return Math.min(front, back)
}

/** As the broker is today: one gateway, every other core a shard, but no more than it can feed. */
export function oneGateway(costs: Costs, cores: number): Split {
  const useful = Math.ceil(costs.s / costs.f)
  const shards = Math.max(1, Math.min(cores - 1, useful))
  return { gateways: 1, shards, rate: rateOf(costs, 1, shards) }
}

/** The best that any number of gateways gives. */
export function bestSplit(costs: Costs, cores: number): Split {
  let best = oneGateway(costs, cores)
  for (let gateways = 1; gateways < cores; gateways++) {
    const shards = cores - gateways
    const rate = rateOf(costs, gateways, shards)
    if (rate > best.rate) best = { gateways, shards, rate }
  }
  return best
}
