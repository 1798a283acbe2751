#!/usr/bin/env node
/**
 * The command `ringcast`: this process's streams, signals and exit code around run().
 * Runs on: the command's process. Owns: the process.
 */
import { Exit } from './exit-codes.js'
import { run } from './program.js'
import type { Io } from './terminal.js'

/** A command that was asked to end and does not, ends by force. */
const FORCED_AFTER_MS = 5000

let interrupted: AbortController | undefined

const io: Io = {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  interruption() {
    if (interrupted !== undefined) return interrupted.signal
    const controller = new AbortController()
    interrupted = controller
    const onSignal = () => {
      if (controller.signal.aborted) process.exit(Exit.interrupted.code)
      controller.abort()
      setTimeout(() => process.exit(Exit.interrupted.code), FORCED_AFTER_MS).unref()
    }
    process.on('SIGINT', onSignal)
    process.on('SIGTERM', onSignal)
    return controller.signal
  },
}

// `ringcast sub … | head -1`: who reads has had enough, and that is no failure.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    process.exit(error.code === 'EPIPE' ? Exit.ok.code : Exit.internal.code)
  })
}

const exitCode = await run(process.argv.slice(2), io)
// Not left to the event loop: a stdin that stays open would keep the process for ever.
process.stdout.write('', () => process.exit(exitCode))
