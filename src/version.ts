/**
 * The version in package.json: the one place that knows how far away it is, from source and from build.
 * Runs on: the main thread.
 */
import { readFileSync } from 'node:fs'

export function version(): string {
  const isSource = import.meta.url.endsWith('.ts')
  const file = new URL(isSource ? '../package.json' : '../../package.json', import.meta.url)
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
}
