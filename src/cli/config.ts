/**
 * `ringcast config`: the options that a broker started here and now would have, and where from.
 * Runs on: the command's process.
 */
import type { Command } from 'commander'
import { ConfigError, explainConfig, loadConfig } from '../config.js'
import { Exit } from './exit-codes.js'
import { Failure } from './failure.js'
import { optionsOf } from './options.js'
import { tableLines } from './table.js'
import type { Terminal } from './terminal.js'

const HELP = `
A source is \`default\` or the environment variable that set it: NAME, or RINGCAST_NAME, which wins.
What is wrong is told on stderr, every mistake on a line of its own, with exit code 78.
docs/configuration.md says what each option means.

Examples:
  ringcast config
  PORT=9000 RINGCAST_WORKERS=4 ringcast config --json
  ringcast config > /dev/null && ringcast start`

export function addConfig(program: Command, terminal: Terminal): void {
  program
    .command('config')
    .description("show the broker's options: their values, and where each comes from")
    .addHelpText('after', HELP)
    .action(async (_: unknown, command: Command) => {
      const { json } = optionsOf(command)
      try {
        await show(terminal, json)
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error
        for (const problem of error.problems) {
          if (json) await terminal.printJson({ problem })
          else terminal.complain(problem)
        }
        throw new Failure(Exit.config, `${error.problems.length} mistakes in the configuration`)
      }
    })
}

async function show(terminal: Terminal, json: true | undefined): Promise<void> {
  const { env } = terminal.io
  const rows = explainConfig(env)
  for (const warning of loadConfig(env).warnings) terminal.note(warning)
  if (json) {
    for (const { env: name, ...rest } of rows) await terminal.printJson({ name, ...rest })
    return
  }
  const [head = '', ...lines] = tableLines(
    [{ title: 'NAME' }, { title: 'VALUE' }, { title: 'SOURCE' }],
    rows.map(({ env: name, value, source }) => [name, value || '(empty)', source]),
  )
  await terminal.print(terminal.paint('bold', head))
  for (const [index, line] of lines.entries()) {
    const isDefault = rows[index]?.source === 'default'
    await terminal.print(isDefault ? line : terminal.paint('yellow', line))
  }
}
