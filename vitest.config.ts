/**
 * Tests run the TypeScript sources; threads that they start run the build in `dist`, since Node 20 cannot
 * load .ts files in a worker. Hence `npm test` builds first (scripts/prepare.mjs).
 */
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Processes, not threads: a test that ends its thread with an open uWebSockets app aborts the process.
    pool: 'forks',
    testTimeout: 30_000,
    hookTimeout: 30_000,
    coverage: {
      provider: 'v8',
      include: ['src/**/*.ts'],
      reporter: ['text-summary', 'html', 'json-summary'],
      thresholds: { lines: 90 },
    },
  },
})
