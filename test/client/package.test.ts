/** The types of the package as a user's compiler sees them: strictly, without Node's own types. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc')

const USER_CODE = `
import { type Client, connect, connectPool, type Message, RingcastError, type Subscription } from 'ringcast/client'

interface Order { readonly id: number }

export async function use(url: string): Promise<number> {
  const client: Client = await connect(url, { codec: 'json', onShutdown: (ms: number) => void ms })
  client.on('state', (state) => state === 'open')
  const orders: Subscription<Order> = client.subscribe<Order>('orders.*', async ({ payload }, { attempt }) => {
    await Promise.resolve(payload.id + attempt)
  }, { concurrency: 4, retry: { maxAttempts: 3 }, breaker: { threshold: 5, halfOpenAfterMs: 1000 } })
  orders.on('gap', ({ fromSeq, toSeq }) => toSeq - fromSeq)
  for await (const message of client.subscribe<Order>('orders.new', { lastN: 1 })) {
    const typed: Message<Order> = message
    return typed.payload.id
  }
  const { seq } = await client.publish('orders', { id: 1 }, { headers: { a: 'b' } })
  const pool = await connectPool(url, { size: 2 })
  await pool.drain()
  try {
    await client.drain()
  } catch (error) {
    if (error instanceof RingcastError && error.retryable) return 0
  }
  // @ts-expect-error: there is no such option
  await connect(url, { nonsense: 1 })
  // @ts-expect-error: a payload is what the type parameter says
  client.subscribe<Order>('x', ({ payload }) => payload.name)
  return seq
}
`

const RESOLUTIONS = [
  { module: 'nodenext', moduleResolution: 'nodenext' },
  { module: 'esnext', moduleResolution: 'bundler' },
]

test.each(RESOLUTIONS)(
  'the declarations compile in a strict project ($moduleResolution)',
  (options) => {
    const folder = mkdtempSync(join(tmpdir(), 'ringcast-types-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    mkdirSync(join(folder, 'node_modules'))
    symlinkSync(root, join(folder, 'node_modules', 'ringcast'), 'dir')
    writeFileSync(join(folder, 'package.json'), '{"type":"module"}')
    writeFileSync(join(folder, 'user.ts'), USER_CODE)
    const compilerOptions = {
      ...options,
      target: 'es2022',
      lib: ['es2022', 'dom'],
      types: [],
      strict: true,
      exactOptionalPropertyTypes: true,
      skipLibCheck: false,
      noEmit: true,
    }
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions }))
    let complaints = ''
    try {
      execFileSync(process.execPath, [compiler, '-p', folder], { encoding: 'utf8' })
    } catch (error) {
      complaints = (error as { stdout: string }).stdout
    }
    expect(complaints).toBe('')
  },
)
