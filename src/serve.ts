/**
 * The broker as a process: start, signals, exit codes. `npm start` and `ringcast start` both come here.
 * Runs on: the main thread. Owns: the process.
 *
 *   exit code  meaning
 *   0          stopped as asked
 *   1          stopped at once: a second signal, or the shutdown took too long
 *   70         the broker could not go on
 *   78         the configuration is wrong
 */
import { setFlagsFromString } from 'node:v8'
import type { Logger } from 'pino'
import { Broker, memoryCeiling } from './broker.js'
import { ConfigError, type Loaded, loadConfig } from './config.js'
import { createLogger } from './telemetry/logging.js'
import { version } from './version.js'

const EXIT_FORCED = 1
const EXIT_FAILED = 70
export const EXIT_CONFIG = 78
/**
 * Eight seconds after a heap was collected, V8 collects it again up to three times to make it smaller,
 * with four threads that mark. Ours are 10 to 20 MB each beside hundreds of shared memory: nothing to
 * gain, and each time 10 to 15 ms in which messages wait for a core. This is for the workers: the front
 * thread's heap is older than the flag, and may still be made smaller while it has little to do.
 */
const V8_FLAGS = '--no-memory-reducer-for-small-heaps'
const SIGNALS = ['SIGTERM', 'SIGINT'] as const

/**
 * Runs the broker until a signal ends the process. Returns once it listens, or the exit code of a
 * broker that was never started, with the reason already on stderr.
 */
export async function serve(): Promise<number | undefined> {
  setFlagsFromString(V8_FLAGS) // Before there is a worker.
  const loaded = load()
  if (loaded === undefined) return EXIT_CONFIG
  const logger = createLogger(loaded.config.logLevel, 'main')
  for (const warning of loaded.warnings) logger.warn(warning)
  await run(loaded, logger)
  return undefined
}

function load(): Loaded | undefined {
  try {
    return loadConfig(process.env)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    process.stderr.write(`${error.message}\n`)
    return undefined
  }
}

async function run({ config, overrides }: Loaded, logger: Logger): Promise<void> {
  let broker: Broker | undefined
  const fail = (error: Error) => {
    logger.fatal({ err: error }, error.message)
    // Open sockets of uWebSockets.js would turn the exit into an abort.
    broker?.closeNow()
    process.exit(EXIT_FAILED)
  }
  try {
    const loggerFor = (component: string) => createLogger(config.logLevel, component)
    broker = await Broker.start({ config, loggerFor, onFatal: fail })
  } catch (error) {
    // What keeps a broker from starting is told in one sentence; the stack is for those who ask.
    logger.fatal(error instanceof Error ? error.message : String(error))
    logger.debug({ err: error }, 'the broker did not start')
    process.exit(error instanceof ConfigError ? EXIT_CONFIG : EXIT_FAILED)
  }
  process.on('uncaughtException', fail)
  logger.info(
    {
      version: version(),
      host: config.host,
      port: broker.port,
      url: `ws://${config.host.includes(':') ? `[${config.host}]` : config.host}:${broker.port}/ws`,
      workers: config.workers,
      memoryCeilingMiB: Math.round(memoryCeiling(config) / 2 ** 20),
      overrides: Object.fromEntries(overrides.map(({ env, value }) => [env, value])),
    },
    'listening',
  )
  stopOnSignal(broker, config.shutdownTimeoutMs, logger)
}

function stopOnSignal(broker: Broker, timeoutMs: number, logger: Logger): void {
  let isStopping = false
  const force = (why: string) => {
    logger.warn(`${why}, ending at once`)
    broker.closeNow()
    process.exit(EXIT_FORCED)
  }
  const onSignal = (signal: string) => {
    if (isStopping) return force('second signal')
    isStopping = true
    logger.info({ signal, timeoutMs }, 'draining')
    setTimeout(() => force('the shutdown took too long'), timeoutMs)
    broker.stop().then(
      () => {
        logger.info('stopped')
        process.exit(0)
      },
      (error: unknown) => {
        logger.error({ err: error }, 'shutdown failed')
        force('the shutdown failed')
      },
    )
  }
  for (const signal of SIGNALS) process.on(signal, onSignal)
}
