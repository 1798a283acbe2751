/**
 * Where the worker threads' entry point is: the one place that knows source from build.
 * Node 20 cannot run TypeScript, so threads always run the build, also when tests run the sources.
 */
export function shardWorkerFile(): URL {
  const isSource = import.meta.url.endsWith('.ts')
  const path = isSource ? '../dist/workers/shard.js' : '../workers/shard.js'
  return new URL(path, import.meta.url)
}
