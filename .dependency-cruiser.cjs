/**
 * The arrows between folders (docs/ARCHITECTURE.md): who may import whom. `npm run arrows` and
 * test/architecture.test.ts check them. Types may cross: they leave nothing at run time.
 */
const PURE_STAGES = ['protocol', 'routing', 'ring', 'log', 'filter']

/** A stage that may import only its own folder, src/errors.ts, Node and packages. */
const standsAlone = (stage) => ({
  name: `${stage}-stands-alone`,
  comment: `src/${stage} may import only src/${stage} and src/errors.ts, and types.`,
  severity: 'error',
  from: { path: `^src/${stage}/` },
  to: {
    path: '^(src|workers|bench|test)/',
    pathNot: `^src/(${stage}/|errors\\.ts$)`,
    dependencyTypesNot: ['type-only'],
  },
})

module.exports = {
  forbidden: [
    ...PURE_STAGES.map(standsAlone),
    {
      name: 'gateway-does-not-know-shards',
      comment: 'They run on different threads and meet only in ring records.',
      severity: 'error',
      from: { path: '^src/gateway/' },
      to: { path: '^src/shard/' },
    },
    {
      name: 'shard-does-not-know-the-gateway',
      comment: 'They run on different threads and meet only in ring records.',
      severity: 'error',
      from: { path: '^src/shard/' },
      to: { path: '^src/gateway/' },
    },
    {
      name: 'one-composition-root',
      comment: 'Only src/broker.ts and src/main.ts put the gateway and the shards together.',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/(gateway/|shard/|broker\\.ts$|main\\.ts$)' },
      to: { path: '^src/(gateway|shard)/' },
    },
    {
      name: 'sockets-at-one-place',
      comment: 'Only the listener (and the file that loads the binary) knows uWebSockets.js.',
      severity: 'error',
      from: { path: '^(src|workers)/', pathNot: '^src/gateway/(listener|uws)\\.ts$' },
      to: { path: '(^|/)(uWebSockets\\.js|uwebsockets)(/|$)' },
    },
    {
      name: 'src-stands-without-its-users',
      comment: 'src is started by workers, and used by bench and test; never the other way round.',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/cli/bench(-compare|-options)?\\.ts$' },
      to: { path: '^(workers|bench|test|scripts)/' },
    },
    {
      name: 'bench-command-runs-the-generator',
      comment:
        '`ringcast bench` starts the load generator and writes its reports; nothing else of bench is in the package’s way.',
      severity: 'error',
      from: { path: '^src/cli/bench(-compare|-options)?\\.ts$' },
      to: {
        path: '^(workers|bench|test|scripts)/',
        pathNot:
          '^bench/(load/(coordinator|plan|topics)|controls/control-process|report/[a-z-]+)\\.ts$',
      },
    },
    {
      name: 'command-line-is-a-client',
      comment:
        'src/cli uses the SDK as anybody does, reads the configuration, and starts the broker by serve.ts.',
      severity: 'error',
      from: { path: '^src/cli/' },
      to: {
        path: '^src/',
        pathNot: '^src/(cli/|client/ringcast\\.ts$|(config|serve|version)\\.ts$)',
      },
    },
    {
      name: 'nobody-uses-the-command-line',
      severity: 'error',
      from: { path: '^(src|workers|bench)/', pathNot: '^src/cli/' },
      to: { path: '^src/cli/' },
    },
    {
      name: 'no-development-packages-at-run-time',
      severity: 'error',
      from: { path: '^(src|workers)/' },
      to: { dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown'] },
    },
    {
      name: 'no-cycles',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'no-orphans',
      comment: 'A module that nobody imports and that is no entry point is dead.',
      severity: 'error',
      from: { orphan: true, path: '^src/', pathNot: '(^src/main\\.ts|\\.d\\.ts)$' },
      to: {},
    },
    {
      name: 'everything-resolves',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '(^|/)dist/' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'types'],
    },
  },
}
