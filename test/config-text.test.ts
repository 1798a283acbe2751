import { expect, test } from 'vitest'
import { configurationMarkdown, helpText } from '../src/config-text.js'
import { options } from '../src/options.js'

const names = Object.values(options).map(({ env }) => env)

test('helpText() names every option with its default, in lines of at most 100 columns', () => {
  const help = helpText()
  for (const name of names) expect(help).toContain(`\n  ${name}  (default: `)
  expect(help).toContain('PORT  (default: 8080)')
  expect(help).toContain('WORKERS  (default: cores − 1, at least 1)')
  expect(help).toContain('CORS_ORIGINS  (default: empty)')
  expect(Math.max(...help.split('\n').map((line) => line.length))).toBeLessThanOrEqual(100)
})

test('configurationMarkdown() has one table row of four cells for each option', () => {
  const rows = configurationMarkdown().match(/^\| `.*$/gm) ?? []
  expect(rows).toHaveLength(names.length)
  for (const row of rows) expect(row.split(/(?<!\\)\|/)).toHaveLength(6)
})
