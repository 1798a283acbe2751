import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { describe, expect, test } from 'vitest'
import { Exit, exitCodesText } from '../../src/cli/exit-codes.js'
import { explain } from '../../src/cli/failure.js'
import { buildProgram } from '../../src/cli/program.js'
import { progressLine } from '../../src/cli/progress.js'
import { bytesText, tableLines, uptimeText } from '../../src/cli/table.js'
import { parseTarget } from '../../src/cli/target.js'
import { Terminal } from '../../src/cli/terminal.js'
import { version } from '../../src/version.js'
import { COMMAND, runHere, runProcess } from './harness.js'

const io = {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  env: {},
  interruption: () => new AbortController().signal,
}
const program = buildProgram(new Terminal(io))

function allCommands(
  command: Command,
  path: string[] = [],
): { path: string[]; command: Command }[] {
  const below = command.commands.flatMap((child) => allCommands(child, [...path, child.name()]))
  return path.length === 0 ? below : [{ path, command }, ...below]
}

const commands = allCommands(program)

test.each(commands.map(({ path }) => path.join(' ')))('%s --help has examples', async (path) => {
  const { code, stdout, stderr } = await runHere([...path.split(' '), '--help'])
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toMatch(/\nExamples?:\n {2}\S/)
  expect(stdout).toContain('--url')
})

test('--help ends with the exit codes, and docs/cli.md has them, every command and every option', () => {
  const docs = readFileSync(new URL('../../docs/cli.md', import.meta.url), 'utf8')
  for (const { code, doc } of Object.values(Exit)) expect(docs).toContain(`| ${code} | ${doc} |`)
  const options = [program, ...commands.map(({ command }) => command)].flatMap((command) =>
    command.options.map(({ long }) => long ?? ''),
  )
  for (const long of new Set(options)) expect(docs).toContain(`\`${long}`)
  for (const { path } of commands) expect(docs).toContain(`ringcast ${path.join(' ')}`)
  expect(exitCodesText()).toContain('  130  ')
})

test('ringcast as a process: --version, --help, and 2 for what it does not know', async () => {
  expect(await runProcess(['--version'])).toEqual({ code: 0, stdout: `${version()}\n`, stderr: '' })
  const help = await runProcess(['--help'])
  expect(help).toMatchObject({ code: 0, stderr: '' })
  expect(help.stdout).toContain(exitCodesText())
  const unknown = await runProcess(['pbu', 'a'])
  expect(unknown).toEqual({
    code: 2,
    stdout: '',
    stderr: "ringcast: unknown command 'pbu' (Did you mean pub?) — see --help\n",
  })
})

test.each([
  [['--url', 'ftp://x', 'health'], 'It must begin with ws://'],
  [['--url', 'ws://', 'health'], 'It must look like'],
  [['--url', 'http://me:secret@x', 'health'], 'user name'],
  [['health', '--timeout', '5'], 'duration'],
  [['pub', 'a', 'b', '--rate', '0'], 'above 0'],
  [['pub', 'a', 'b', '--count', '1.5'], 'whole number'],
  [['pub', 'a', 'b', '--header', 'x'], 'name=value'],
  [['pub', 'a', 'b', '--format', 'xml'], 'auto, json, text'],
  [['pub'], "'topic'"],
  [['topics', 'rm'], "'topic'"],
  [['bench', '--processes', '17'], 'at most 16'],
  [['bench', '--url', 'wss://x'], 'plain ws://'],
  [['bench', '--payload', '15'], 'from 16 to 65536'],
  [['bench', '--ramp', '1s'], '--ramp needs --rate'],
  [['bench', '--topic-groups', '2'], 'at most --topics'],
  [['bench', '--noise-floor', '--pattern-subscribers', '1'], 'knows no patterns'],
  [['bench', '--fail-if', 'p98>1ms'], '"p98" is none of rate'],
  [['bench', 'compare', 'only-one.json'], "'after'"],
  [['completion', 'tcsh'], 'bash, zsh, fish'],
])('%j is a usage error of one line', async (args, text) => {
  const { code, stdout, stderr } = await runHere(args)
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
  expect(stderr).toMatch(/^ringcast: [^\n]*\n$/)
  expect(stderr).toContain(text)
})

test.each([
  ['ws://h:1/ws', 'ws://h:1/ws', 'http://h:1'],
  ['http://h:1', 'ws://h:1/ws', 'http://h:1'],
  ['https://h/broker/', 'wss://h/broker/ws', 'https://h/broker'],
  ['wss://h/broker/ws', 'wss://h/broker/ws', 'https://h/broker'],
  ['localhost:9000', 'ws://localhost:9000/ws', 'http://localhost:9000'],
  ['ws://[::1]:8080', 'ws://[::1]:8080/ws', 'http://[::1]:8080'],
])('parseTarget(%j) finds both doors', (text, wsUrl, httpUrl) => {
  expect(parseTarget(text)).toEqual({ wsUrl, httpUrl })
})

test('explain() makes one line and 70 of what nobody expected', () => {
  const { text, exitCode } = explain(new TypeError('x is not a function'))
  expect(exitCode).toBe(70)
  expect(text).toMatch(/^internal error: x is not a function at .*$/)
  expect(explain('thrown text').text).toMatch(/^internal error: thrown text/)
})

test('colours are for terminals without NO_COLOR only', async () => {
  const terminal = { columns: 80, rows: 24 }
  const url = ['--url', 'ws://127.0.0.1:9']
  expect((await runHere(['health', ...url], { terminal })).stderr).toContain('\x1b[31mringcast:')
  const plain = await runHere(['health', ...url], { terminal, env: { NO_COLOR: '1' } })
  expect(plain.stderr).toMatch(/^ringcast: /)
  const dumb = await runHere(['health', ...url], { terminal, env: { TERM: 'dumb' } })
  expect(dumb.stderr).toMatch(/^ringcast: /)
})

test('numbers, amounts and tables read as people write them', () => {
  expect([0, 999, 1500, 2_500_000, 1e15, Number.NaN].map(bytesText)).toEqual([
    '0 B',
    '999 B',
    '1.5 kB',
    '2.5 MB',
    '1000 TB',
    '–',
  ])
  expect([0, 59, 3600, 93_784].map(uptimeText)).toEqual(['0 s', '59 s', '1 h', '1 d 2 h'])
  expect(tableLines([{ title: 'A' }, { title: 'B', align: 'right' }], [['xx', '1']])).toEqual([
    'A   B',
    'xx  1',
  ])
  expect(progressLine(5, 10, 1000)).toBe(`${'█'.repeat(12)}${'░'.repeat(12)} 50 %  5/10  5/s`)
  expect(progressLine(1200, undefined, 1000)).toBe('1,200 messages  1,200/s')
})

describe('config', () => {
  test('shows every option, and the variable that set it', async () => {
    const env = { PORT: '9000', RINGCAST_WORKERS: '3', WORKERS: '2', RINGCAST_URL: 'ws://x' }
    const { code, stdout, stderr } = await runHere(['config'], { env })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^NAME +VALUE +SOURCE$/m)
    expect(stdout).toMatch(/^PORT +9000 +PORT$/m)
    expect(stdout).toMatch(/^WORKERS +3 +RINGCAST_WORKERS$/m)
    expect(stdout).toMatch(/^CORS_ORIGINS +\(empty\) +default$/m)
    const json = await runHere(['config', '--json'], { env })
    const port = { name: 'PORT', value: '9000', source: 'PORT', default: '8080' }
    expect(json.stdout).toContain(`${JSON.stringify(port)}\n`)
  })

  test('as a process names every mistake and ends with 78', async () => {
    const { code, stdout, stderr } = await runProcess(['config'], { PORT: 'x', WORKERS: '0' })
    expect({ code, stdout }).toEqual({ code: 78, stdout: '' })
    expect(stderr).toMatch(
      /^ringcast: PORT="x": must be .*\nringcast: WORKERS="0": must be .*\nringcast: 2 mistakes in the configuration\n$/,
    )
    const json = await runHere(['config', '--json'], { env: { PORT: 'x' } })
    expect(json.stdout).toMatch(/^{"problem":"PORT=.*"}\n$/)
    const warned = await runHere(['config'], { env: { RINGCAST_PROT: '1' } })
    expect(warned).toMatchObject({ code: 0, stderr: expect.stringContaining('RINGCAST_PORT?') })
  })
})

describe('completion', () => {
  /** What bash would offer for the last of these words. */
  function complete(...words: string[]): string[] {
    const script = `source <("${process.execPath}" "${COMMAND}" completion bash)
      COMP_WORDS=(ringcast ${words.map((word) => `'${word}'`).join(' ')})
      COMP_CWORD=${words.length}; _ringcast; printf '%s\\n' "\${COMPREPLY[@]}"`
    return execFileSync('bash', ['-c', script], { encoding: 'utf8' }).trim().split('\n')
  }

  test('of bash offers commands, options and their values where they belong', () => {
    expect(complete('p')).toEqual(['pub'])
    expect(complete('topics', '')).toEqual(expect.arrayContaining(['ls', 'create', 'rm', 'info']))
    expect(complete('topics', '')).not.toContain('pub')
    expect(complete('sub', 'orders', '--fr')).toEqual(['--from-seq'])
    expect(complete('pub', 'a', '--ur')).toEqual(['--url'])
    expect(complete('pub', 'a', '--format', '')).toEqual(['auto', 'json', 'text'])
    expect(complete('pub', 'a', '--rate', '')).toEqual([''])
    expect(complete('completion', 'z')).toEqual(['zsh'])
    expect(complete('pub', 'a', '--file', `${COMMAND.slice(0, -3)}`)).toContain(COMMAND)
  })

  test.each(['bash', 'zsh', 'fish'])('of %s knows every command and option', async (shell) => {
    const { code, stdout } = await runHere(['completion', shell])
    expect(code).toBe(0)
    for (const { path, command } of commands) {
      expect(stdout).toContain(path.at(-1))
      for (const { long = '' } of command.options) expect(stdout).toContain(long?.slice(2))
    }
  })
})
