/**
 * `ringcast stats`: the broker's counters, once.
 * Runs on: the command's process.
 */
import type { Command } from 'commander'
import type { Counters, Stats } from './broker-answers.js'
import { request } from './http-door.js'
import { optionsOf } from './options.js'
import { whole } from './table.js'
import type { Terminal } from './terminal.js'

const HELP = `
The counters count since the broker was started. With --json: the broker's answer as it is.

Examples:
  ringcast stats
  ringcast stats --json | jq .gateway.messagesDelivered`

export function addStats(program: Command, terminal: Terminal): void {
  program
    .command('stats')
    .description("print the broker's counters")
    .addHelpText('after', HELP)
    .action(async (_: unknown, command: Command) => {
      const options = optionsOf(command)
      const stats = await request<Stats>(options, 'GET', '/stats')
      if (options.json) return terminal.printJson(stats)
      const { topics, connections, subscribers, lagging, gateway, workers } = stats
      const now = { topics: Object.keys(topics).length, connections, subscribers, lagging }
      await section(terminal, 'now', now)
      await section(terminal, 'gateway', gateway)
      for (const [number, worker] of workers.entries()) {
        await section(terminal, `worker ${number}`, worker)
      }
    })
}

async function section(terminal: Terminal, title: string, counters: Counters): Promise<void> {
  await terminal.print(terminal.paint('bold', title))
  const entries = Object.entries(counters).map(([name, value]) => [name, whole(value)] as const)
  const nameWidth = Math.max(...entries.map(([name]) => name.length))
  const valueWidth = Math.max(...entries.map(([, value]) => value.length))
  for (const [name, value] of entries) {
    await terminal.print(`  ${name.padEnd(nameWidth)}  ${value.padStart(valueWidth)}`)
  }
}
