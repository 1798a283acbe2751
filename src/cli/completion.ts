/**
 * `ringcast completion bash | zsh | fish`: a script made from the tree of commands, so that it never
 * says anything else than --help.
 * Runs on: the command's process.
 */
import { Argument, type Command, type Option } from 'commander'
import type { Terminal } from './terminal.js'

const SHELLS = ['bash', 'zsh', 'fish'] as const
type Shell = (typeof SHELLS)[number]

const HELP = `
Examples:
  source <(ringcast completion bash)                  in ~/.bashrc
  source <(ringcast completion zsh)                   in ~/.zshrc, after compinit
  ringcast completion fish > ~/.config/fish/completions/ringcast.fish`

export function addCompletion(program: Command, terminal: Terminal): void {
  program
    .command('completion')
    .description('print a script that completes this command in a shell')
    .addArgument(new Argument('<shell>', 'which shell').choices(SHELLS))
    .addHelpText('after', HELP)
    .action((shell: Shell) => terminal.print(completionScript(program, shell)))
}

function completionScript(program: Command, shell: Shell): string {
  const nodes = nodesOf(program, [])
  if (shell === 'bash') return bashScript(nodes)
  return shell === 'zsh' ? zshScript(nodes) : fishScript(nodes)
}

interface Candidate {
  readonly word: string
  readonly doc: string
}

/** One command of the tree: its words, and what may follow them. */
interface Node {
  readonly path: readonly string[]
  readonly commands: readonly Candidate[]
  readonly options: readonly Option[]
}

function nodesOf(
  command: Command,
  path: readonly string[],
  inherited: readonly Option[] = [],
): Node[] {
  const own = [...command.options, ...inherited]
  const children = command.commands
  const choices = command.registeredArguments.flatMap(({ argChoices = [] }) => argChoices)
  const commands = [
    ...children.map((child) => ({ word: child.name(), doc: child.description() })),
    ...choices.map((word) => ({ word, doc: '' })),
  ]
  const below = children.flatMap((child) =>
    nodesOf(child, [...path, child.name()], path.length === 0 ? command.options : inherited),
  )
  return [{ path, commands, options: own }, ...below]
}

function optionWords({ long, short }: Option): string[] {
  return [long, short].flatMap((word) => word ?? [])
}

/** What the shell function keeps as «where we are»: `topics ls`. */
function keyOf(path: readonly string[]): string {
  return path.join(' ')
}

/** Lines of a `case` that walks from word to word; the same in bash and zsh. */
function walkLines(nodes: readonly Node[]): string[] {
  return nodes
    .filter(({ path }) => path.length > 0)
    .map(({ path }) => {
      const before = keyOf(path.slice(0, -1))
      return `      "${before}/${path.at(-1)}") at="${keyOf(path)}" ;;`
    })
}

function bashScript(nodes: readonly Node[]): string {
  const valued = uniqueBy(
    nodes.flatMap(({ options }) => options.filter(({ required }) => required)),
    ({ flags }) => flags,
  )
  const choices = valued.filter(({ argChoices }) => argChoices !== undefined)
  const files = valued.filter(({ flags }) => flags.includes('<file>'))
  const others = valued.filter((option) => !choices.includes(option) && !files.includes(option))
  const cases = nodes.map(({ path, commands, options }) => {
    const words = [...commands.map(({ word }) => word), ...options.flatMap(optionWords), '--help']
    return `    "${keyOf(path)}") words="${words.join(' ')}" ;;`
  })
  return `# bash completion of ringcast; made by \`ringcast completion bash\`
_ringcast() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" prev="\${COMP_WORDS[COMP_CWORD - 1]}" at="" words="" i
  COMPREPLY=()
  case "$prev" in
${choices
  .map(({ argChoices = [], ...option }) => {
    const words = optionWords(option as Option).join('|')
    return `    ${words}) mapfile -t COMPREPLY < <(compgen -W "${argChoices.join(' ')}" -- "$cur"); return ;;`
  })
  .join('\n')}
    ${files.flatMap(optionWords).join('|')}) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
    ${others.flatMap(optionWords).join('|')}) return ;;
  esac
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$at/\${COMP_WORDS[i]}" in
${walkLines(nodes).join('\n')}
    esac
  done
  case "$at" in
${cases.join('\n')}
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}
complete -F _ringcast ringcast`
}

function zshScript(nodes: readonly Node[]): string {
  const item = (word: string, doc: string) => {
    const text = `${word.replaceAll(':', '\\:')}${doc === '' ? '' : `:${doc}`}`
    return `'${text.replaceAll("'", "'\\''")}'`
  }
  const cases = nodes.map(({ path, commands, options }) => {
    const words = commands.map(({ word, doc }) => item(word, doc))
    const flags = options.flatMap((option) =>
      optionWords(option).map((word) => item(word, option.description)),
    )
    return `    "${keyOf(path)}")
      commands=(${words.join(' ')})
      flags=(${[...flags, item('--help', 'display help')].join(' ')}) ;;`
  })
  return `#compdef ringcast
# zsh completion of ringcast; made by \`ringcast completion zsh\`
_ringcast() {
  local at="" word
  local -a commands flags
  for word in "\${(@)words[2,CURRENT-1]}"; do
    case "$at/$word" in
${walkLines(nodes).join('\n')}
    esac
  done
  case "$at" in
${cases.join('\n')}
  esac
  if [[ "$PREFIX" == -* ]]; then
    _describe -o option flags
  elif (( \${#commands} )); then
    _describe command commands
  else
    _files
  fi
}
if [[ "\${funcstack[1]}" == _ringcast ]]; then _ringcast "$@"; else compdef _ringcast ringcast; fi`
}

function fishScript(nodes: readonly Node[]): string {
  const lines = nodes.flatMap(({ path, commands, options }) => {
    const condition = fishCondition(path, commands)
    const own = path.length === 0 ? options : options.filter((option) => !isGlobal(nodes, option))
    const words = commands.map(
      ({ word, doc }) => `complete -c ringcast -f ${condition} -a ${word} -d ${fishQuoted(doc)}`,
    )
    const where = path.length === 0 ? '' : `${fishCondition(path, [])} `
    return [...words, ...own.map((option) => fishOption(option, where))]
  })
  return [
    '# fish completion of ringcast; made by `ringcast completion fish`',
    'complete -c ringcast -f',
    ...lines,
  ].join('\n')
}

function isGlobal([root]: readonly Node[], option: Option): boolean {
  return root?.options.includes(option) === true
}

function fishCondition(path: readonly string[], commands: readonly Candidate[]): string {
  const seen = path.map((word) => `__fish_seen_subcommand_from ${word}`)
  const later = commands.map(({ word }) => word).join(' ')
  const all = later === '' ? seen : [...seen, `not __fish_seen_subcommand_from ${later}`]
  return `-n ${fishQuoted(all.join('; and '))}`
}

function fishOption(option: Option, where: string): string {
  const { long = '', short, description, required, argChoices, flags } = option
  const parts = [`complete -c ringcast ${where}-l ${long.slice(2)}`]
  if (short !== undefined) parts.push(`-s ${short.slice(1)}`)
  if (argChoices !== undefined) parts.push(`-x -a ${fishQuoted(argChoices.join(' '))}`)
  else if (required) parts.push(flags.includes('<file>') ? '-r -F' : '-x')
  return `${parts.join(' ')} -d ${fishQuoted(description)}`
}

function fishQuoted(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
}

function uniqueBy<Item>(items: readonly Item[], key: (item: Item) => string): Item[] {
  return [...new Map(items.map((item) => [key(item), item])).values()]
}
