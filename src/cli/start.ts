/**
 * `ringcast start`: the broker in this process, by the same code as `npm start`.
 * Runs on: the command's process, which the broker owns from here on: signals, exit code, log.
 */
import type { Command } from 'commander'
import { Failure } from './failure.js'

const HELP = `
Options of the broker are environment variables; \`ringcast config\` shows them all and what they are.
The log goes to stdout. SIGTERM or Ctrl-C stops gracefully, a second one at once.

Examples:
  ringcast start
  PORT=9000 WORKERS=4 ringcast start
  LOG_LEVEL=warn TOPIC_MAX_AGE_MS=1h ringcast start`

export function addStart(program: Command): void {
  program
    .command('start')
    .description('run a broker')
    .addHelpText('after', HELP)
    .action(async () => {
      // Loaded only here: other commands need neither the binary of the server nor the broker.
      const { serve } = await import('../serve.js')
      const code = await serve()
      if (code !== undefined) throw new Failure({ code }, 'the broker was not started')
      await new Promise(() => {}) // The broker ends the process.
    })
}
