/**
 * Bundles the client SDK for browsers: dist/browser/ringcast.js, one ES module without imports.
 * scripts/prepare.mjs calls it after tsc; test/client/browser-bundle.test.ts checks what comes out.
 */
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const root = fileURLToPath(new URL('..', import.meta.url))

/** A browser has a WebSocket of its own; the one for Node is never reached there. */
const withoutNodeSocket = {
  name: 'without-node-socket',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /\/node-socket\.js$/ }, () => ({ path: 'none', namespace: 'none' }))
    onLoad({ filter: /.*/, namespace: 'none' }, () => ({
      contents: 'export const nodeWebSocket = undefined',
    }))
  },
}

await build({
  absWorkingDir: root,
  entryPoints: ['src/client/ringcast.ts'],
  outfile: 'dist/browser/ringcast.js',
  bundle: true,
  format: 'esm',
  // Not Node: a built-in that slips in fails the build.
  platform: 'browser',
  target: 'es2022',
  minify: true,
  legalComments: 'inline',
  plugins: [withoutNodeSocket],
  logLevel: 'warning',
})
