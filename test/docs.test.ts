import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { configurationMarkdown } from '../src/config.js'

test('docs/configuration.md says what the table of options says (else run `npm run docs:config`)', () => {
  const written = readFileSync(new URL('../docs/configuration.md', import.meta.url), 'utf8')
  expect(written).toBe(configurationMarkdown())
})
