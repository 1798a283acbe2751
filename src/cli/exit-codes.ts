/**
 * How a command ends, in numbers: for scripts, for --help, for docs/cli.md (a test compares them).
 * Runs on: the command's process.
 */
export const Exit = {
  ok: { code: 0, doc: 'done' },
  failed: { code: 1, doc: 'the broker refused, or what was asked is not so (health: not healthy)' },
  usage: { code: 2, doc: 'wrong arguments or options' },
  condition: { code: 3, doc: 'what --fail-if names is so (bench)' },
  unreachable: { code: 69, doc: 'no broker answers at the URL, or the connection was lost' },
  internal: { code: 70, doc: 'a bug in this command, or the broker could not go on' },
  config: { code: 78, doc: 'the configuration is wrong (start, config)' },
  interrupted: { code: 130, doc: 'ended by Ctrl-C before it was done' },
} as const satisfies Record<string, { readonly code: number; readonly doc: string }>

export function exitCodesText(): string {
  const lines = Object.values(Exit).map(({ code, doc }) => `  ${String(code).padEnd(5)}${doc}`)
  return ['Exit codes:', ...lines].join('\n')
}
