/**
 * Loggers: pino JSON lines on standard output, pretty when that is a terminal. Payloads are never logged, so
 * there is nothing to redact.
 * Runs on: every thread; each writes to the process's standard output itself. Writes are synchronous: pino's
 * asynchronous transports lose the last lines of a thread that dies, and those are the ones one needs.
 */
import { createRequire } from 'node:module'
import { isatty } from 'node:tty'
import { type DestinationStream, type Logger, pino } from 'pino'

const STANDARD_OUTPUT = 1

let standardOutput: DestinationStream | undefined

/** A logger whose lines carry `component`. The third argument is for tests; all loggers of a thread share the default. */
export function createLogger(
  level: string,
  component: string,
  destination?: DestinationStream,
): Logger {
  standardOutput ??= openDestination(STANDARD_OUTPUT, isatty(STANDARD_OUTPUT))
  return pino(
    {
      level,
      base: { component },
      timestamp: pino.stdTimeFunctions.isoTime,
      // Words, not numbers: a line is read by people and by tools that do not know pino.
      formatters: { level: (label) => ({ level: label }) },
    },
    destination ?? standardOutput,
  )
}

/** Where lines go: `fd` as they are, or through pino-pretty for a person at a terminal. */
export function openDestination(fd: number, terminal: boolean): DestinationStream {
  if (!terminal) return pino.destination({ dest: fd, sync: true })
  // Loaded only here: a broker behind a pipe, and each of its threads, starts without it.
  const { PinoPretty: pretty } = createRequire(import.meta.url)(
    'pino-pretty',
  ) as typeof import('pino-pretty')
  return pretty({ destination: fd, sync: true, translateTime: 'SYS:HH:MM:ss.l', colorize: true })
}
