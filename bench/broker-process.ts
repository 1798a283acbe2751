/**
 * Starts the real broker, as a user would, on a free port.
 * Runs on: the benchmark's main process. Owns: nothing; see server-process.ts.
 */
import { fileURLToPath } from 'node:url'
import { type Server, startServer } from './server-process.js'

/** `execArgv`: arguments of Node itself. */
export async function startBroker(
  env: Readonly<Record<string, string>>,
  execArgv: readonly string[] = [],
): Promise<Server> {
  const module = fileURLToPath(new URL('../src/main.js', import.meta.url))
  const server = await startServer({ name: 'ringcast', module, env, execArgv })
  return { ...server, statsUrl: `http://${server.host}:${server.port}/stats?topics=none` }
}
