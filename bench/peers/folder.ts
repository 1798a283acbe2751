/**
 * Where the peers' own packages are, and the build: the one place of bench/peers that knows source
 * from build.
 * Runs on: every process of the comparison. Owns: nothing.
 *
 * The peers' clients have a package.json of their own, next to this source and out of ringcast's:
 * who installs ringcast gets none of them. Hence they are found by path and not by an import that
 * a compiler could see.
 */
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath, pathToFileURL } from 'node:url'

const IS_SOURCE = import.meta.url.endsWith('.ts')
/** The source folder: it holds package.json and, when installed, node_modules. */
export const PEERS_FOLDER = fileURLToPath(
  new URL(IS_SOURCE ? './' : '../../../bench/peers/', import.meta.url),
)

/** A module of bench/ as a process can run it; Node 20 cannot run TypeScript. */
export function builtModule(pathInBench: string): string {
  const base = IS_SOURCE ? '../../dist/bench/' : '../'
  return fileURLToPath(new URL(`${base}${pathInBench}`, import.meta.url))
}

/** The version of an installed package of the peers; undefined when it is not there. */
export function installedVersion(name: string): string | undefined {
  const file = `${PEERS_FOLDER}node_modules/${name}/package.json`
  if (!existsSync(file)) return undefined
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
}

/**
 * Loads a package of the peers. `Shape` is the part of its API that is used here, written by hand:
 * the type check must pass without the package.
 */
export async function importPeer<Shape>(name: string): Promise<Shape> {
  const path = createRequire(`${PEERS_FOLDER}package.json`).resolve(name)
  return (await import(pathToFileURL(path).href)) as Shape
}
