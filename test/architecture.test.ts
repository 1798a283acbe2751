import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('..', import.meta.url))

type Report = {
  readonly summary: {
    readonly totalCruised: number
    readonly violations: readonly {
      readonly rule: { readonly name: string }
      readonly from: string
      readonly to: string
    }[]
  }
  readonly modules: readonly { readonly source: string }[]
}

// By command line, not by import: the report is what `npm run arrows` sees, with the same settings.
function cruise(): Report {
  const cli = 'node_modules/dependency-cruiser/bin/dependency-cruise.mjs'
  const options = ['--config', '.dependency-cruiser.cjs', '--output-type', 'json']
  try {
    return parse(run([cli, ...options, 'src', 'workers', 'bench']))
  } catch (error) {
    // With violations it exits with their number, and prints the report all the same.
    const stdout = (error as { stdout?: string }).stdout
    if (stdout === undefined) throw error
    return parse(stdout)
  }
}

function run(args: string[]): string {
  return execFileSync(process.execPath, args, {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  })
}

function parse(text: string): Report {
  return JSON.parse(text) as Report
}

test('no module imports what its folder may not know', () => {
  const { summary, modules } = cruise()
  expect(summary.violations.map(({ rule, from, to }) => `${rule.name}: ${from} → ${to}`)).toEqual(
    [],
  )
  // Proof that it looked: a wrong path or an unreadable language would find nothing, and no violation.
  expect(modules.map((module) => module.source)).toContain('src/config.ts')
  expect(summary.totalCruised).toBeGreaterThan(0)
})
