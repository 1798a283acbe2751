/** `npm run docs:config`: writes docs/configuration.md from the table of options in src/options.ts. */
import { writeFileSync } from 'node:fs'
import { configurationMarkdown } from '../dist/src/config-text.js'

writeFileSync(new URL('../docs/configuration.md', import.meta.url), configurationMarkdown())
