/**
 * The heap of the process that measures others.
 * Runs on: the benchmark's main process. Owns: nothing.
 */
import { setFlagsFromString } from 'node:v8'

/**
 * Eight seconds after its start V8 would make this heap smaller, with four threads that mark it for 10 to
 * 20 ms while the others are measured. The broker's flag (src/serve.ts) is narrower, and too late here:
 * loading the modules has begun it. To be called first.
 */
export function leaveHeapAlone(): void {
  setFlagsFromString('--no-memory-reducer')
}
