/**
 * The tree of commands, and what happens around each of them: errors to one line, failures to exit codes.
 * Runs on: the command's process. Owns: nothing.
 */
import { Command } from 'commander'
import { version } from '../version.js'
import { addBench } from './bench.js'
import { addCompletion } from './completion.js'
import { addConfig } from './config.js'
import { addConsume } from './consume.js'
import { addDelayed } from './delayed.js'
import { addDlq } from './dlq.js'
import { exitCodesText } from './exit-codes.js'
import { explain } from './failure.js'
import { addGroups } from './groups.js'
import { addHealth } from './health.js'
import { addHistory } from './history.js'
import { addGlobalOptions } from './options.js'
import { addPub } from './pub.js'
import { addReply } from './reply.js'
import { addReq } from './req.js'
import { addStart } from './start.js'
import { addStats } from './stats.js'
import { addSub } from './sub.js'
import { Terminal } from './terminal.js'
import { addTop } from './top.js'
import { addTopics } from './topics.js'

const INTRODUCTION = `A multi-threaded WebSocket publish/subscribe broker, and everything an operator does with it.`

const EXAMPLES = `
Examples:
  ringcast start                                   run a broker here
  ringcast sub 'orders.#' --last 10                watch topics
  ringcast pub orders.eu '{"id": 1}'               publish one message
  seq 1000 | ringcast pub numbers --rate 100       publish lines, 100 each second
  ringcast top                                     watch the broker`

/** Runs one command line. Resolves with its exit code; never rejects. */
export async function run(args: readonly string[], io: Terminal['io']): Promise<number> {
  const terminal = new Terminal(io)
  try {
    await buildProgram(terminal).parseAsync(args, { from: 'user' })
    return 0
  } catch (error) {
    const { text, exitCode } = explain(error)
    if (text !== undefined) terminal.complain(text)
    return exitCode
  }
}

export function buildProgram(terminal: Terminal): Command {
  const program = new Command('ringcast')
  program
    .description(INTRODUCTION)
    .version(version(), '-V, --version')
    .exitOverride()
    .configureHelp({ showGlobalOptions: true, helpWidth: terminal.columns })
    .configureOutput({
      writeOut: (text) => terminal.io.stdout.write(text),
      writeErr: (text) => terminal.io.stderr.write(text),
      outputError: (text) => terminal.complain(oneLine(text)),
    })
    .addHelpText('after', `${EXAMPLES}\n\n${exitCodesText()}`)
  addGlobalOptions(program)
  const messages = [addPub, addSub, addReq, addReply, addTopics, addHistory, addDelayed]
  const groups = [addConsume, addGroups, addDlq]
  for (const add of [
    addStart,
    ...messages,
    ...groups,
    addHealth,
    addStats,
    addTop,
    addBench,
    addConfig,
  ]) {
    add(program, terminal)
  }
  addCompletion(program, terminal)
  return program
}

/** Commander says «error: …», and a hint on a line of its own. */
function oneLine(text: string): string {
  const line = text
    .trim()
    .replace(/^error: /, '')
    .replaceAll('\n', ' ')
  return `${line} — see --help`
}
