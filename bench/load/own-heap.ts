/**
 * The heaps of the generator's processes, and of the one that starts them.
 * Runs on: the benchmark's processes. Owns: nothing.
 *
 * Eight seconds after its start V8 makes a heap smaller that is not busy, up to three times, each time
 * with four threads that mark it for 10 to 20 ms, in the midst of what is measured. The clients of
 * bench/peers and bench/groups run as their users' processes do, without flags.
 */
import { setFlagsFromString } from 'node:v8'

/** Arguments of Node for a process of the generator. */
export const HEAP_FLAGS: readonly string[] = ['--no-memory-reducer']

/**
 * The same for the process that calls it. Once V8 runs, that flag is no longer asked for; without
 * incremental marking its reducer cannot begin. A heap that only waits for results needs neither.
 */
export function leaveHeapAlone(): void {
  setFlagsFromString('--no-incremental-marking')
}
