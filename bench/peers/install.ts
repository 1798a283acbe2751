/**
 * `npm run bench:peers -- --install`: servers from Debian, clients from npm.
 * Runs on: the benchmark's main process. Owns: bench/peers/node_modules.
 *
 * The npm packages are those of bench/peers/package-lock.json, exactly, and none of their install
 * scripts is run. Debian's packages need root; who is not gets the command to run. Debian may start what
 * it installs as services; the comparison uses none of them and starts its own, on free ports.
 */
import { spawnSync } from 'node:child_process'
import { PEERS_FOLDER } from './folder.js'
import { findCommand } from './servers/native.js'
import { SYSTEMS } from './systems.js'

const APT = ['install', '-y', '--no-install-recommends']

/** Returns the exit code. */
export function installPeers(): number {
  const wanted = SYSTEMS.filter(
    ({ command }) => command !== undefined && findCommand(command) === undefined,
  )
  const packages = [...new Set(wanted.flatMap(({ debianPackage }) => debianPackage ?? []))]
  const codes = [installClients(), packages.length === 0 ? 0 : installServers(packages)]
  return Math.max(...codes)
}

function installClients(): number {
  const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund']
  return run('npm', args, PEERS_FOLDER)
}

function installServers(packages: readonly string[]): number {
  if (process.getuid?.() !== 0 || findCommand('apt-get') === undefined) {
    console.error(`As root: apt-get update && apt-get ${[...APT, ...packages].join(' ')}`)
    return 1
  }
  return run('apt-get', ['update', '-qq']) || run('apt-get', [...APT, ...packages])
}

function run(command: string, args: readonly string[], cwd?: string): number {
  console.error(`${command} ${args.join(' ')}`)
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const { status, error } = spawnSync(command, args, { stdio: 'inherit', cwd, env })
  if (error) console.error(error.message)
  return status ?? 1
}
