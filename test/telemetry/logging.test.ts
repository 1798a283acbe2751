import { execFileSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createLogger, openDestination } from '../../src/telemetry/logging.js'

const built = new URL('../../dist/src/telemetry/logging.js', import.meta.url).href

function capture(): { lines: () => Record<string, unknown>[]; write: (text: string) => void } {
  const written: string[] = []
  return {
    lines: () => written.map((line) => JSON.parse(line) as Record<string, unknown>),
    write: (text) => void written.push(text),
  }
}

function runNode(source: string): string {
  return execFileSync(process.execPath, ['--input-type=module', '--eval', source], {
    encoding: 'utf8',
  })
}

/** Writes through a destination of its own into a file, and returns what stands in the file. */
function writeToFile(
  terminal: boolean,
  log: (destination: ReturnType<typeof openDestination>) => void,
) {
  const folder = mkdtempSync(join(tmpdir(), 'ringcast-logging-'))
  try {
    const path = join(folder, 'out.log')
    const fd = openSync(path, 'w')
    log(openDestination(fd, terminal))
    const text = readFileSync(path, 'utf8') // Before the file is closed: writes are synchronous.
    closeSync(fd)
    return text
  } finally {
    rmSync(folder, { recursive: true })
  }
}

test('createLogger() writes component, level in words, ISO time and message, and nothing else', () => {
  const output = capture()
  createLogger('info', 'gateway', output).info({ port: 8080 }, 'listening')
  const [line] = output.lines()
  expect(line).toEqual({
    level: 'info',
    time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
    component: 'gateway',
    port: 8080,
    msg: 'listening',
  })
})

test('createLogger() leaves out what is below the level', () => {
  const output = capture()
  const logger = createLogger('warn', 'shard', output)
  logger.info('quiet')
  logger.warn('loud')
  expect(output.lines().map((line) => line['msg'])).toEqual(['loud'])
})

test('createLogger() writes nothing when the level is silent', () => {
  const output = capture()
  createLogger('silent', 'shard', output).fatal('unheard')
  expect(output.lines()).toEqual([])
})

test('createLogger() writes an error with its stack', () => {
  const output = capture()
  createLogger('info', 'shard', output).error({ err: new Error('boom') }, 'shard died')
  expect(output.lines()[0]).toMatchObject({ err: { message: 'boom', stack: expect.any(String) } })
})

test('openDestination() writes JSON lines at once', () => {
  const text = writeToFile(false, (destination) => {
    createLogger('info', 'main', destination).info('hello')
  })
  expect(JSON.parse(text)).toMatchObject({ component: 'main', msg: 'hello' })
})

test('openDestination() writes for a person when it is a terminal', () => {
  const text = writeToFile(true, (destination) => {
    createLogger('info', 'main', destination).info('hello')
  })
  expect(text).toContain('hello')
  expect(text).toContain('INFO')
  expect(() => JSON.parse(text)).toThrow()
})

test('createLogger() loses nothing when the process ends at once', () => {
  const out = runNode(`
    import { createLogger } from '${built}'
    const logger = createLogger('info', 'main')
    for (let i = 0; i < 1000; i++) logger.info({ i }, 'line')
    process.exit(0)`)
  const lines = out.trim().split('\n')
  expect(lines).toHaveLength(1000)
  expect(JSON.parse(lines.at(-1) ?? '')).toMatchObject({ i: 999, component: 'main' })
})

test('createLogger() in a thread writes even what comes right before the thread dies', () => {
  const out = runNode(`
    import { Worker } from 'node:worker_threads'
    const source = \`import('${built}').then(({ createLogger }) => {
      createLogger('info', 'shard 0').fatal('last words')
      process.exit(1)
    })\`
    new Worker(source, { eval: true }).on('exit', () => process.exit(0))`)
  expect(JSON.parse(out)).toMatchObject({ component: 'shard 0', level: 'fatal', msg: 'last words' })
})
