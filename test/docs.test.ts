import { spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { configurationMarkdown } from '../src/config-text.js'
import { Close, Reply } from '../src/errors.js'
import { GATEWAY_COUNTERS, SHARD_COUNTERS } from '../src/telemetry/counters.js'
import { startBroker } from './broker/harness.js'

const root = fileURLToPath(new URL('..', import.meta.url))
const documents = [
  ...markdownIn('.'),
  ...markdownIn('docs'),
  ...markdownIn('docs/decisions'),
] as const

test('docs/configuration.md says what the table of options says (else run `npm run docs:config`)', () => {
  expect(read('docs/configuration.md')).toBe(configurationMarkdown())
})

test('docs/PROTOCOL.md has the errors of src/errors.ts', () => {
  const rows = Object.values(Reply).map(({ code, retryable, status, doc }) => [
    `\`${code}\``,
    retryable ? 'yes' : 'no',
    String(status),
    doc,
  ])
  expect(tableBelow('docs/PROTOCOL.md', '## Errors')).toEqual(rows)
})

test('docs/PROTOCOL.md has the close codes of src/errors.ts', () => {
  const rows = Object.values(Close).map(({ code, reason, doc }) => [String(code), reason, doc])
  expect(tableBelow('docs/PROTOCOL.md', '## Close codes')).toEqual(rows)
})

test('docs/RUNBOOK.md has the counters of src/telemetry/counters.ts', () => {
  const rowsOf = (counters: Readonly<Record<string, string>>) =>
    Object.entries(counters).map(([name, doc]) => [`\`${name}\``, doc])
  expect(tableBelow('docs/RUNBOOK.md', '## Counters')).toEqual(rowsOf(GATEWAY_COUNTERS))
  const ofShards = tableBelow('docs/RUNBOOK.md', 'Each element of `workers` is one shard')
  expect(ofShards).toEqual(rowsOf(SHARD_COUNTERS))
})

test('docs/RUNBOOK.md has the exit codes of src/serve.ts', () => {
  const codes = [...read('src/serve.ts').matchAll(/^(?:export )?const EXIT_\w+ = (\d+)$/gm)].map(
    ([, n]) => n,
  )
  expect(codes.length).toBeGreaterThan(0)
  const rows = tableBelow('docs/RUNBOOK.md', '| exit code |')
  expect(rows.map(([code]) => code)).toEqual(['0', ...codes])
})

test.each(documents)('%s names only options, bounds and files that exist', (document) => {
  const sources = sourceText()
  const code = [...proseOf(document).matchAll(/`([^`\n]+)`/g)].map(([, text]) => text as string)
  const names = code.flatMap((text) => text.match(/\b[A-Z]+(?:_[A-Z]+)+\b/g) ?? [])
  expect(names.filter((name) => !sources.includes(name))).toEqual([])
  const files = code.filter((text) => /^(src|workers|bench|test|docs)\/[\w./-]+\.\w+$/.test(text))
  expect(files.filter((file) => !existsSync(join(root, file)))).toEqual([])
})

test.each(documents)('the links of %s lead somewhere', (document) => {
  const links = [...proseOf(document).matchAll(/\]\(([^)\s]+)\)/g)].map(
    ([, link]) => link as string,
  )
  const broken = links.filter((link) => {
    if (/^https?:/.test(link)) return false
    const [path = '', anchor] = link.split('#')
    const target = path === '' ? document : join(dirname(document), decodeURIComponent(path))
    if (!existsSync(join(root, target))) return true
    return anchor !== undefined && !anchorsOf(target).includes(anchor)
  })
  expect(broken).toEqual([])
})

test.each(documents)("%s has no path of somebody's machine in it", (document) => {
  const paths = read(document).match(/(?:\/(?:home|Users|root|work|tmp|mnt)\/|[A-Z]:\\)[^\s`)]*/g)
  expect(paths ?? []).toEqual([])
})

test('README.md links every document', () => {
  const links = [...read('README.md').matchAll(/\]\(([^)#\s]+)/g)].map(([, link]) => link as string)
  const others = documents.filter((document) => document !== 'README.md')
  expect(others.filter((document) => !links.includes(document))).toEqual([])
})

test("README.md's Node client subscribes, publishes and gets its event", async () => {
  const output = await runSnippet('js', '')
  expect(output).toContain('ack sub-1 seq 0')
  expect(output).toContain('ack pub-1 seq 1')
  expect(output).toMatch(/event 1 .*ORD-123/)
})

test("README.md's browser client gets what is published and resumes after a lost connection", async () => {
  // A browser for as much as it needs; it drops the first connection once it has seen an order.
  const shim = `
    import { WebSocket as Base } from 'ws'
    let drops = 1
    globalThis.WebSocket = class extends Base {
      constructor(...args) {
        super(...args)
        this.on('message', (data) => {
          if (!String(data).includes('ORD-1') || drops-- <= 0) return
          setTimeout(() => this.terminate(), 50)
        })
      }
    }
    const post = (order) => fetch(URL_OF_BROKER + '/topics/orders/messages', {
      method: 'POST', body: JSON.stringify({ message: { payload: order } }),
    })
    setTimeout(() => post('ORD-1'), 300)
    setTimeout(() => post('ORD-2'), 700) // While nobody is connected.
  `
  const output = await runSnippet('html', shim)
  expect(output.match(/order \d.*/g)).toEqual(['order 1 ORD-1', 'order 2 ORD-2'])
})

/** Runs the first code block of that language against a broker, until it has said enough or 5 s. */
async function runSnippet(language: string, before: string): Promise<string> {
  const { httpUrl, broker } = await startBroker({ WORKERS: '1' })
  const block = new RegExp(`\`\`\`${language}\n(.*?)\`\`\``, 's').exec(read('README.md'))?.[1]
  expect(block).toContain('localhost:8080')
  const code = (block as string)
    .replace(/<\/?script[^>]*>/g, '')
    .replaceAll('localhost:8080', `127.0.0.1:${broker.port}`)
  const source = `${before.replaceAll('URL_OF_BROKER', JSON.stringify(httpUrl))}\n${code}`
  const child = spawn(process.execPath, ['--input-type=module', '-e', source], { cwd: root })
  onTestFinished(() => void child.kill('SIGKILL'))
  let output = ''
  child.stderr.on('data', (text) => {
    output += text
  })
  await new Promise<void>((resolve) => {
    child.once('exit', () => resolve())
    setTimeout(resolve, 5000)
    child.stdout.on('data', (text) => {
      output += text
      if (/event 1|order 2/.test(output)) setTimeout(resolve, 100) // What else it says.
    })
  })
  return output
}

function read(path: string): string {
  return readFileSync(join(root, path), 'utf8')
}

function markdownIn(folder: string): string[] {
  const names = readdirSync(join(root, folder)).filter((name) => name.endsWith('.md'))
  return names.sort().map((name) => join(folder, name))
}

/** A document without its code blocks. */
function proseOf(document: string): string {
  return read(document).replace(/^```.*?^```$/gms, '')
}

/** Cells of the first table behind this text, its head left out. */
function tableBelow(document: string, text: string): string[][] {
  const content = read(document)
  const at = content.indexOf(text)
  expect(at, `${document} has no «${text}»`).toBeGreaterThanOrEqual(0)
  const lines = content.slice(at).split('\n')
  const start = lines.findIndex((line) => line.startsWith('|'))
  const rest = lines.slice(start + 2)
  const end = rest.findIndex((line) => !line.startsWith('|'))
  return rest.slice(0, end < 0 ? rest.length : end).map((line) =>
    line
      .slice(1, -1)
      .split('|')
      .map((cell) => cell.trim()),
  )
}

/** As GitHub makes them of headings. */
function anchorsOf(document: string): string[] {
  const headings = [...proseOf(document).matchAll(/^#+ (.+)$/gm)].map(([, text]) => text as string)
  return headings.map((text) =>
    text
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )
}

function sourceText(): string {
  return ['src', 'workers', 'bench'].flatMap(sourcesBelow).map(read).join('\n')
}

function sourcesBelow(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`
    if (entry.isDirectory()) return sourcesBelow(path)
    return entry.name.endsWith('.ts') ? [path] : []
  })
}
