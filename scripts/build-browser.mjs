/**
 * Bundles the client SDK for browsers: dist/browser/ringcast.js, one ES module without imports.
 * scripts/prepare.mjs calls it after tsc; test/client/browser-bundle.test.ts checks what comes out.
 */
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const root = fileURLToPath(new URL('..', import.meta.url))

/** A browser has a WebSocket of its own; the fallback for Node 20 is never reached there. */
const withoutWs = {
  name: 'without-ws',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^ws$/ }, () => ({ path: 'ws', namespace: 'without-ws' }))
    onLoad({ filter: /.*/, namespace: 'without-ws' }, () => ({
      contents: 'export default undefined',
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
  plugins: [withoutWs],
  logLevel: 'warning',
})
