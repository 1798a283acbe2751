#!/usr/bin/env node
/**
 * What `npm start` runs: the broker, and nothing else. Options are environment variables.
 * Runs on: the main thread. Owns: the exit code; see serve.ts.
 */
import { helpText } from './config-text.js'
import { EXIT_CONFIG, serve } from './serve.js'
import { version } from './version.js'

async function main(args: readonly string[]): Promise<void> {
  if (args.includes('--help') || args.includes('-h')) {
    process.stdout.write(helpText())
    return
  }
  if (args.includes('--version')) {
    process.stdout.write(`${version()}\n`)
    return
  }
  if (args.length > 0) {
    process.stderr.write(
      `unknown argument ${args[0]}; options are environment variables, see --help\n`,
    )
    process.exitCode = EXIT_CONFIG
    return
  }
  const exitCode = await serve()
  if (exitCode !== undefined) process.exitCode = exitCode
}

await main(process.argv.slice(2))
