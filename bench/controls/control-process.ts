/**
 * Starts the bare uWebSockets.js control on a free port.
 * Runs on: the benchmark's main process. Owns: nothing; see server-process.ts.
 */
import { fileURLToPath } from 'node:url'
import { type Server, startServer } from '../server-process.js'

export function startControl(): Promise<Server> {
  const module = fileURLToPath(new URL('./uws-control.js', import.meta.url))
  return startServer({ name: 'uws', module, env: {} })
}
