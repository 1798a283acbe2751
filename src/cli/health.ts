/**
 * `ringcast health`: for people, and as a probe for whatever restarts brokers.
 * Runs on: the command's process.
 */
import type { Command } from 'commander'
import type { Health } from './broker-answers.js'
import { Exit } from './exit-codes.js'
import { Failure } from './failure.js'
import { ask } from './http-door.js'
import { optionsOf } from './options.js'
import { uptimeText } from './table.js'
import type { Terminal } from './terminal.js'

const HELP = `
Exit code 0 when the broker is healthy, 1 when it is draining or a worker is down, 69 when none
answers: fit for a liveness or readiness probe.

Examples:
  ringcast health
  ringcast health --url http://broker:8080 --timeout 1s --json`

export function addHealth(program: Command, terminal: Terminal): void {
  program
    .command('health')
    .description('whether the broker is well; the exit code says it too')
    .addHelpText('after', HELP)
    .action(async (_: unknown, command: Command) => {
      const options = optionsOf(command)
      const { status, body } = await ask<Health>(options, 'GET', '/health')
      if (options.json) await terminal.printJson(body)
      else await terminal.print(healthLine(body, terminal))
      if (status !== 200) throw new Failure(Exit.failed, `not healthy: ${body.status}`)
    })
}

function healthLine(health: Health, terminal: Terminal): string {
  const { status, topics, subscribers, connections, workers, workers_down: down = [] } = health
  const parts = [
    terminal.paint(status === 'ok' ? 'green' : 'red', status),
    `up ${uptimeText(health.uptime_sec)}`,
    `${topics} topics`,
    `${subscribers} subscribers`,
  ]
  if (connections !== undefined) parts.push(`${connections} connections`)
  if (workers !== undefined) parts.push(`${workers - down.length} of ${workers} workers`)
  return parts.join(' · ')
}
