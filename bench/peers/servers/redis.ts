/**
 * Redis for pub/sub only: nothing is written to disk, and no limit cuts a subscriber off. No I/O
 * threads: redis.conf advises them from four cores on.
 * Runs on: the benchmark's main process. Owns: nothing; see native.ts.
 */
import type { Server } from '../../server-process.js'
import { startNative } from './native.js'

export const REDIS_COMMAND = 'redis-server'

export function startRedis(): Promise<Server> {
  return startNative({
    name: 'redis',
    command: REDIS_COMMAND,
    files: ({ host, port, folder }) => ({
      'redis.conf': [
        `bind ${host}`,
        `port ${port}`,
        `dir ${folder}`,
        'save ""',
        'appendonly no',
        'client-output-buffer-limit pubsub 0 0 0',
        'loglevel warning',
      ].join('\n'),
    }),
    args: () => ['redis.conf'],
  })
}
