import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ConfigError, loadConfig } from '../src/config.js'
import type { Config } from '../src/options.js'

const machine = { cores: 4 }
const KiB = 1024
const MiB = 1024 * KiB

function load(env: Record<string, string | undefined>): Config {
  return loadConfig(env, machine).config
}

function problemsOf(env: Record<string, string | undefined>, cores = 4): string[] {
  try {
    loadConfig(env, { cores })
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
  return []
}

describe('defaults', () => {
  test('loadConfig() of an empty environment gives the documented defaults and no remarks', () => {
    const { config, warnings, overrides } = loadConfig({}, machine)
    expect(config).toEqual({
      host: '0.0.0.0',
      port: 8080,
      corsOrigins: [],
      logLevel: 'info',
      shutdownTimeoutMs: 10_000,
      threadTimings: false,
      workers: 3,
      ringBytes: 4 * MiB,
      topicBytesMax: 16 * MiB,
      logMemoryBytes: 256 * MiB,
      shardHeapMb: 256,
      shardStallMs: 10_000,
      shardRestartTimeoutMs: 10_000,
      autoCreateTopics: true,
      maxTopics: 10_000,
      topicHistorySize: 8192,
      topicMaxAgeMs: 0,
      topicRulesFile: '',
      maxDelayedMessages: 10_000,
      dedupMaxIds: 1_000_000,
      maxConnections: 20_000,
      maxSubscriptionsPerConnection: 1000,
      maxSubscribersPerTopic: 10_000,
      maxPatterns: 1000,
      maxFilters: 128,
      maxGroups: 1024,
      maxGroupMembers: 16_384,
      routesFile: '',
      heartbeatIntervalMs: 30_000,
      slowConsumerPolicy: 'drop_oldest',
      subscriberQueueSize: 1000,
      highWaterMarkBytes: MiB,
      maxPayloadBytes: 65_536,
      maxFrameBytes: MiB,
      maxBatchMessages: 4096,
      maxInFlightPublishes: 10_000,
      publishWaitMs: 500,
    })
    expect(warnings).toEqual([])
    expect(overrides).toEqual([])
  })

  test('loadConfig() freezes the configuration', () => {
    const config = load({ CORS_ORIGINS: 'https://a.example' })
    expect(Object.isFrozen(config)).toBe(true)
    expect(Object.isFrozen(config.corsOrigins)).toBe(true)
  })

  test.each([
    [1, 1],
    [2, 1],
    [3, 2],
    [16, 15],
    [200, 64],
  ])('loadConfig() on %i cores takes %i workers', (cores, workers) => {
    expect(loadConfig({}, { cores }).config.workers).toBe(workers)
  })

  test('loadConfig() looks at this machine when none is given', () => {
    expect(loadConfig({}).config.workers).toBeGreaterThanOrEqual(1)
  })

  test('loadConfig() of an empty environment is valid on every number of cores', () => {
    for (let cores = 1; cores <= 256; cores++) expect(problemsOf({}, cores)).toEqual([])
  })

  test('loadConfig() raises the default of LOG_MEMORY_BYTES with WORKERS and TOPIC_BYTES_MAX', () => {
    expect(loadConfig({}, { cores: 17 }).config.logMemoryBytes).toBe(512 * MiB)
    expect(load({ TOPIC_BYTES_MAX: '64MiB' }).logMemoryBytes).toBe(384 * MiB)
    expect(load({ WORKERS: '1' }).logMemoryBytes).toBe(256 * MiB)
  })

  test('loadConfig() has a valid default of LOG_MEMORY_BYTES for every TOPIC_BYTES_MAX', () => {
    for (let size = 4; size <= 512; size *= 2) {
      for (const cores of [1, 2, 8, 65]) {
        expect(problemsOf({ TOPIC_BYTES_MAX: `${size}MiB` }, cores)).toEqual([])
      }
    }
  })
})

describe('names', () => {
  test('loadConfig() reads an option from its name', () => {
    expect(load({ PORT: '9000' }).port).toBe(9000)
  })

  test('loadConfig() prefers the name with the prefix', () => {
    expect(load({ PORT: '9000', RINGCAST_PORT: '9001' }).port).toBe(9001)
  })

  test('loadConfig() takes a variable that is set to nothing as not set', () => {
    expect(load({ PORT: '', RINGCAST_PORT: '  ' }).port).toBe(8080)
    expect(load({ PORT: '9000', RINGCAST_PORT: '' }).port).toBe(9000)
    expect(load({ PORT: undefined }).port).toBe(8080)
  })

  test('loadConfig() ignores space around a value', () => {
    expect(load({ PORT: ' 9000 ', LOG_LEVEL: ' debug' })).toMatchObject({
      port: 9000,
      logLevel: 'debug',
    })
  })
})

describe('values', () => {
  test.each([
    ['65536', 65_536],
    ['64KiB', 65_536],
    ['64kib', 65_536],
    ['64 KiB', 65_536],
    ['65536B', 65_536],
    ['1MiB', MiB],
  ])('loadConfig() reads HIGH_WATER_MARK_BYTES=%s as bytes', (text, bytes) => {
    expect(load({ HIGH_WATER_MARK_BYTES: text }).highWaterMarkBytes).toBe(bytes)
  })

  test('loadConfig() reads sizes in GiB', () => {
    expect(load({ LOG_MEMORY_BYTES: '2GiB' }).logMemoryBytes).toBe(2 ** 31)
  })

  test.each([
    ['500', 500],
    ['500ms', 500],
    ['30s', 30_000],
    ['5m', 300_000],
    ['1h', 3_600_000],
    ['7d', 604_800_000],
  ])('loadConfig() reads TOPIC_MAX_AGE_MS=%s as a duration', (text, ms) => {
    expect(load({ TOPIC_MAX_AGE_MS: text }).topicMaxAgeMs).toBe(ms)
  })

  test.each([
    ['true', true],
    ['TRUE', true],
    ['1', true],
    ['yes', true],
    ['on', true],
    ['false', false],
    ['0', false],
    ['no', false],
    ['off', false],
  ])('loadConfig() reads AUTO_CREATE_TOPICS=%s as a truth value', (text, value) => {
    expect(load({ AUTO_CREATE_TOPICS: text }).autoCreateTopics).toBe(value)
  })

  test('loadConfig() reads a choice whatever its case', () => {
    expect(load({ LOG_LEVEL: 'WARN', SLOW_CONSUMER_POLICY: 'Disconnect' })).toMatchObject({
      logLevel: 'warn',
      slowConsumerPolicy: 'disconnect',
    })
  })

  test('loadConfig() reads origins as a browser sends them', () => {
    const text =
      ' https://App.example.com/ ,http://b.example:80,, http://[::1]:3000, capacitor://localhost'
    expect(load({ CORS_ORIGINS: text }).corsOrigins).toEqual([
      'https://app.example.com',
      'http://b.example',
      'http://[::1]:3000',
      'capacitor://localhost',
    ])
    expect(load({ CORS_ORIGINS: '*' }).corsOrigins).toEqual(['*'])
  })

  test.each([
    ['PORT', 'abc', 'must be a whole number from 0 to 65535'],
    ['PORT', '-1', 'must be a whole number from 0 to 65535'],
    ['PORT', '65536', 'must be a whole number from 0 to 65535'],
    ['PORT', '80.5', 'must be a whole number from 0 to 65535'],
    ['PORT', '8e3', 'must be a whole number from 0 to 65535'],
    ['PORT', '8k', 'must be a whole number from 0 to 65535'],
    ['WORKERS', '0', 'must be a whole number of threads from 1 to 64'],
    ['HOST', 'a b', 'must be an IP address or a host name'],
    ['HOST', 'http://a', 'must be an IP address or a host name'],
    ['LOG_LEVEL', 'loud', 'must be one of trace, debug, info, warn, error, fatal, silent'],
    ['AUTO_CREATE_TOPICS', 'maybe', 'must be true or false'],
    ['SLOW_CONSUMER_POLICY', 'drop', 'must be one of drop_oldest, disconnect'],
    ['RING_BYTES', '5MiB', /^must be a power of two in bytes from 256KiB to 256MiB/],
    ['RING_BYTES', '4MB', /^must be a power of two in bytes/],
    ['TOPIC_BYTES_MAX', '2GiB', /^must be a power of two in bytes from 1MiB to 512MiB/],
    ['HIGH_WATER_MARK_BYTES', '1', /^must be a size in bytes from 16KiB to 64MiB/],
    ['HIGH_WATER_MARK_BYTES', '99999999999999999999', /^must be a size in bytes/],
    [
      'SHUTDOWN_TIMEOUT_MS',
      '1y',
      /^must be a duration from 100ms to 10m \(like 500, 500ms, 30s, 5m\)$/,
    ],
    ['HEARTBEAT_INTERVAL_MS', '0', /^must be a duration from 50ms to 8m/],
    ['CORS_ORIGINS', 'app.example.com', /^must be a comma-separated list of origins/],
    ['CORS_ORIGINS', 'https://a.example/path', /^must be a comma-separated list of origins/],
    ['CORS_ORIGINS', 'https://a.example, https://user@b.example', /^must be a comma-separated/],
    ['CORS_ORIGINS', 'https://a.example:99999', /^must be a comma-separated list/],
  ])('loadConfig() refuses %s=%s', (name, text, rule) => {
    const [problem = '', ...others] = problemsOf({ [name]: text })
    expect(others).toEqual([])
    const prefix = `${name}=${JSON.stringify(text)}: `
    expect(problem.startsWith(prefix)).toBe(true)
    const said = problem.slice(prefix.length)
    if (typeof rule === 'string') expect(said).toBe(rule)
    else expect(said).toMatch(rule)
  })

  test('loadConfig() throws nothing but ConfigError, whatever the text', () => {
    const names = loadedNames()
    fc.assert(
      fc.property(fc.constantFrom(...names), fc.string({ unit: 'binary' }), (name, text) => {
        problemsOf({ [name]: text })
      }),
    )
  })

  test('loadConfig() reads back every value it shows', () => {
    const bytes = fc.integer({ min: 16 * KiB, max: 64 * MiB })
    const ms = fc.integer({ min: 0, max: 2 ** 30 })
    fc.assert(
      fc.property(bytes, ms, (size, age) => {
        const env = { HIGH_WATER_MARK_BYTES: `${size}`, TOPIC_MAX_AGE_MS: `${age}` }
        const { config, overrides } = loadConfig(env, machine)
        const shown = Object.fromEntries(overrides.map(({ env: name, value }) => [name, value]))
        expect(load(shown)).toEqual(config)
      }),
    )
  })
})

describe('problems', () => {
  test('ConfigError names all mistakes at once, under the names they were read from', () => {
    const problems = problemsOf({
      RINGCAST_PORT: 'abc',
      WORKERS: '0',
      MAX_TOPICS: '-5',
      TOPIC_HISTORY_SIZE: '10',
    })
    expect(problems).toHaveLength(4)
    expect(problems.map((problem) => problem.split('=')[0])).toEqual([
      'RINGCAST_PORT',
      'WORKERS',
      'MAX_TOPICS',
      'TOPIC_HISTORY_SIZE',
    ])
  })

  test('ConfigError.message carries every problem on a line of its own', () => {
    expect(() => load({ PORT: 'x', WORKERS: 'y' })).toThrow(
      'invalid configuration:\n  PORT="x": must be a whole number from 0 to 65535\n  WORKERS="y": ',
    )
  })

  test.each([
    [{ TOPIC_HISTORY_SIZE: '999' }, 'TOPIC_HISTORY_SIZE=999, SUBSCRIBER_QUEUE_SIZE=1000: '],
    [
      { MAX_PAYLOAD_BYTES: '1MiB', RING_BYTES: '8MiB' },
      'MAX_PAYLOAD_BYTES=1MiB, MAX_FRAME_BYTES=1MiB: ',
    ],
    [{ MAX_FRAME_BYTES: '2MiB' }, 'RING_BYTES=4MiB, MAX_FRAME_BYTES=2MiB: '],
    [{ MAX_PAYLOAD_BYTES: '1000KiB' }, 'RING_BYTES=4MiB, MAX_PAYLOAD_BYTES=1000KiB: '],
    [
      { TOPIC_BYTES_MAX: '2MiB' },
      'TOPIC_BYTES_MAX=2MiB, MAX_FRAME_BYTES=1MiB, MAX_BATCH_MESSAGES=4096: ',
    ],
    [{ LOG_MEMORY_BYTES: '64MiB' }, 'LOG_MEMORY_BYTES=64MiB, WORKERS=3, TOPIC_BYTES_MAX=16MiB: '],
    [{ LOG_MEMORY_BYTES: '4GiB' }, 'LOG_MEMORY_BYTES=4GiB, WORKERS=3: '],
  ])('loadConfig() refuses options that do not fit together: %o', (env, beginning) => {
    const problems = problemsOf(env)
    expect(problems).toHaveLength(1)
    expect(problems[0]).toContain(beginning)
    expect(problems[0]).toContain('must be')
  })

  test.each([
    [{ TOPIC_HISTORY_SIZE: '1000' }],
    [{ MAX_PAYLOAD_BYTES: '992KiB' }],
    [{ MAX_FRAME_BYTES: '1984KiB' }],
    [{ TOPIC_BYTES_MAX: '4MiB' }],
    [{ LOG_MEMORY_BYTES: '96MiB' }],
    [{ LOG_MEMORY_BYTES: '3GiB' }],
  ])('loadConfig() accepts the last value that fits: %o', (env) => {
    expect(problemsOf(env)).toEqual([])
  })

  test('loadConfig() reports all rules between options that are broken', () => {
    const problems = problemsOf({ RING_BYTES: '256KiB', SUBSCRIBER_QUEUE_SIZE: '100000' })
    expect(problems.map((problem) => problem.split('=')[0])).toEqual([
      'TOPIC_HISTORY_SIZE',
      'RING_BYTES',
      'RING_BYTES',
    ])
  })

  test('loadConfig() does not compare with a value it could not read', () => {
    expect(problemsOf({ TOPIC_HISTORY_SIZE: '10', SUBSCRIBER_QUEUE_SIZE: 'many' })).toHaveLength(1)
  })
})

describe('warnings', () => {
  test.each([
    ['RINGCAST_PROT', 'did you mean RINGCAST_PORT?'],
    ['RINGCAST_MAX_TOPIC', 'did you mean RINGCAST_MAX_TOPICS?'],
    ['MAX_TOPIC', 'did you mean MAX_TOPICS?'],
    ['TOPIC_HISTORY_SIZ', 'did you mean TOPIC_HISTORY_SIZE?'],
    ['WORKER', 'did you mean WORKERS?'],
    ['LOGLEVEL', 'did you mean LOG_LEVEL?'],
    ['RING_BYTE', 'did you mean RING_BYTES?'],
  ])('loadConfig() warns about %s', (name, hint) => {
    const { warnings, config } = loadConfig({ [name]: '7' }, machine)
    expect(warnings).toEqual([`${name} is not an option and has no effect; ${hint}`])
    expect(config).toEqual(load({}))
  })

  test('loadConfig() gives no hint for an unknown name that resembles nothing', () => {
    expect(loadConfig({ RINGCAST_ZZZZZ: '1' }, machine).warnings).toEqual([
      'RINGCAST_ZZZZZ is not an option and has no effect',
    ])
  })

  test('loadConfig() says nothing about ordinary variables', () => {
    const ordinary = `HOME PATH SHELL HOSTNAME HOSTTYPE USER LOGNAME LANG TERM PWD OLDPWD SHLVL EDITOR PAGER PORTS TMPDIR
      NODE_ENV NODE_OPTIONS npm_lifecycle_event npm_config_cache INIT_CWD CI DEBUG MAIL COLORTERM SSH_TTY DISPLAY
      MAX_TOKENS LOG_FILE LOG_FORMAT TZ WORKDIR KUBERNETES_SERVICE_HOST KUBERNETES_PORT POSTHOST EXPORT`
    const env = Object.fromEntries(ordinary.split(/\s+/).map((name) => [name, 'x']))
    expect(loadConfig(env, machine).warnings).toEqual([])
  })

  test('loadConfig() says nothing about the names it knows, with and without prefix', () => {
    const { warnings } = loadConfig({ RINGCAST_MAX_TOPICS: '5', MAX_TOPICS: '6' }, machine)
    expect(warnings).toEqual([])
  })
})

describe('overrides', () => {
  test('loadConfig() lists what differs from the default, in the order of the table', () => {
    const env = {
      MAX_PAYLOAD_BYTES: '32768',
      RINGCAST_WORKERS: '2',
      CORS_ORIGINS: 'https://a.example',
    }
    expect(loadConfig(env, machine).overrides).toEqual([
      { env: 'CORS_ORIGINS', value: 'https://a.example', default: '' },
      { env: 'WORKERS', value: '2', default: '3' },
      { env: 'MAX_PAYLOAD_BYTES', value: '32KiB', default: '64KiB' },
    ])
  })

  test('loadConfig() does not list a variable that says the default', () => {
    const env = { PORT: '8080', RING_BYTES: '4194304', HEARTBEAT_INTERVAL_MS: '30s' }
    expect(loadConfig(env, machine).overrides).toEqual([])
  })
})

/** The names of all options, from the fields of a configuration: `maxTopics` → `MAX_TOPICS`. */
function loadedNames(): string[] {
  return Object.keys(load({})).map((field) => field.replace(/[A-Z]/g, '_$&').toUpperCase())
}
