/**
 * The table of options as people read it: `--help`, and docs/configuration.md.
 * Runs on: the main thread, once at start; and `npm run docs:config`. Owns: nothing.
 */
import { crossChecks } from './option-rules.js'
import { formatValue, ruleOf } from './option-values.js'
import { type Option, sections } from './options.js'

const HELP_COLUMNS = 100

/** What `npm start -- --help` prints. */
export function helpText(): string {
  const lines = [
    'ringcast: a multi-threaded WebSocket publish/subscribe broker',
    '',
    'Usage: [NAME=value ...] npm start',
    '',
    ...wrap(INTRODUCTION, ''),
  ]
  for (const [title, table] of Object.entries(sections)) {
    lines.push('', `${title}:`)
    for (const option of Object.values<Option>(table)) {
      lines.push('', `  ${option.env}  (default: ${describeDefault(option) || 'empty'})`)
      lines.push(...wrap(`${capitalised(ruleOf(option))}. ${option.doc}`, '      '))
    }
  }
  return `${lines.join('\n')}\n`
}

/** The text of docs/configuration.md. */
export function configurationMarkdown(): string {
  const lines = [
    '# Configuration',
    '',
    '<!-- Made from the table in src/options.ts by `npm run docs:config`; a test compares them. -->',
    '',
    INTRODUCTION,
  ]
  for (const [title, table] of Object.entries(sections)) {
    lines.push(
      '',
      `## ${title}`,
      '',
      '| variable | default | value | meaning |',
      '|---|---|---|---|',
    )
    for (const option of Object.values<Option>(table)) {
      const standard = describeDefault(option)
      const cells = [
        `\`${option.env}\``,
        option.defaultText ?? (standard === '' ? 'empty' : `\`${standard}\``),
        ruleOf(option),
        option.doc,
      ]
      lines.push(`| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`)
    }
  }
  lines.push('', '## Rules between options', '')
  lines.push(...crossChecks.map((check) => `- ${check.rule}.`))
  return `${lines.join('\n')}\n`
}

const INTRODUCTION =
  'Every option is an environment variable, read once at start. RINGCAST_<NAME> is read too, and wins over <NAME>. A variable set to nothing counts as not set. If any value is wrong, the broker names all mistakes and does not start; unknown RINGCAST_ names and names close to an option get a warning. The start-up log states every value that is not the default.'

function describeDefault(option: Option): string {
  if (typeof option.default === 'function') return option.defaultText ?? ''
  return formatValue(option, option.default)
}

function capitalised(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}

function wrap(text: string, indent: string): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && indent.length + line.length + 1 + word.length > HELP_COLUMNS) {
      lines.push(indent + line)
      line = word
    } else {
      line = line === '' ? word : `${line} ${word}`
    }
  }
  return [...lines, indent + line]
}
