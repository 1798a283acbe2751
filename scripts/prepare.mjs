/**
 * Makes the working copy ready to run: installs dependencies when the lock file asks for others than
 * are there, and builds `dist` when a source is newer than it. `npm start` and `npm test` call it, so a
 * fresh clone needs no other command. Says nothing, and costs nothing, when there is nothing to do.
 * Runs on: any Node, so that an old one gets a sentence instead of a stack trace; hence no dependencies.
 */
import { spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const OLDEST_NODE = 20
const SOURCE_FOLDERS = ['src', 'workers', 'bench']
const BUNDLER = 'scripts/build-browser.mjs'
const BUNDLE = 'dist/browser/ringcast.js'
const BUILD_INPUTS = ['tsconfig.json', 'tsconfig.build.json', 'package-lock.json', BUNDLER]

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const lockFile = join(root, 'package-lock.json')
const installedLockFile = join(root, 'node_modules', '.package-lock.json')
const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
const dist = join(root, 'dist')
const stampFile = join(dist, '.built')

checkNode()
if (!isInstalled()) install()
buildIfStale()

function checkNode() {
  const major = Number(process.versions.node.split('.')[0])
  if (major >= OLDEST_NODE) return
  fail(`ringcast needs Node ${OLDEST_NODE} or newer; this is Node ${process.versions.node}.`, 1)
}

/** True when what npm last installed is what the lock file names. */
function isInstalled() {
  if (!existsSync(installedLockFile)) return false
  if (!existsSync(lockFile)) return true
  if (modifiedMs(installedLockFile) >= modifiedMs(lockFile)) return true
  // A newer lock file need not be another one: `npm install` and `git checkout` touch it too, and a
  // needless `npm ci` would take node_modules away from whatever is running.
  if (!sameVersions(readPackages(lockFile), readPackages(installedLockFile))) return false
  touch(installedLockFile, new Date())
  return true
}

function readPackages(file) {
  return JSON.parse(readFileSync(file, 'utf8')).packages || {}
}

function sameVersions(wanted, installed) {
  return Object.keys(wanted).every((path) => {
    if (path === '') return true
    const there = installed[path]
    if (!there) return wanted[path].optional === true // Built for another platform.
    return there.version === wanted[path].version && there.integrity === wanted[path].integrity
  })
}

function install() {
  // --include=dev: with NODE_ENV=production npm would leave the compiler out.
  const command = existsSync(lockFile) ? 'ci' : 'install'
  say(`installing dependencies (npm ${command})`)
  const npm = process.env.npm_execpath
  const options = [command, '--include=dev', '--no-audit', '--no-fund', '--loglevel=error']
  const result =
    npm && /\.c?js$/.test(npm)
      ? run(process.execPath, [npm, ...options], false)
      : run('npm', options, process.platform === 'win32')
  if (result !== 0) {
    fail(`npm ${command} failed; the lines above say why. Nothing was built.`, result)
  }
  touch(installedLockFile, new Date())
}

function buildIfStale() {
  const sources = SOURCE_FOLDERS.flatMap((folder) => filesBelow(folder)).sort()
  const stamp = readStamp()
  const outputs = [...sources.map(outputOf), join(root, BUNDLE)]
  const whole = stamp !== undefined && outputs.every((file) => existsSync(file))
  if (
    whole &&
    sameList(stamp.sources, sources) &&
    !anyNewer([...sources, ...BUILD_INPUTS], stamp)
  ) {
    return
  }
  // The compiler does not take away what it once wrote for a source that is gone.
  if (stamp?.sources.some((file) => !sources.includes(file))) {
    rmSync(dist, { recursive: true, force: true })
  }
  // Someone emptied dist by hand: with its notes on the last build tsc would believe all is written.
  if (!whole) rmSync(join(dist, '.tsbuildinfo'), { force: true })

  const startedAt = new Date() // A file saved while tsc runs must count as newer.
  say('building (tsc)')
  const result = run(process.execPath, [compiler, '-p', 'tsconfig.build.json'], false)
  if (result !== 0) fail('the build failed; the lines above say where.', result)
  const bundled = run(process.execPath, [join(root, BUNDLER)], false)
  if (bundled !== 0) fail('the bundle for browsers failed; the lines above say where.', bundled)
  mkdirSync(dist, { recursive: true })
  writeFileSync(stampFile, JSON.stringify(sources))
  touch(stampFile, startedAt)
}

function outputOf(source) {
  return join(dist, source.replace(/\.ts$/, '.js'))
}

function readStamp() {
  try {
    return { sources: JSON.parse(readFileSync(stampFile, 'utf8')), builtMs: modifiedMs(stampFile) }
  } catch {
    return undefined // Never built, or half written: build.
  }
}

function anyNewer(files, stamp) {
  return files.some((file) => {
    const path = join(root, file)
    return existsSync(path) && modifiedMs(path) > stamp.builtMs
  })
}

function filesBelow(folder) {
  const path = join(root, folder)
  if (!existsSync(path)) return []
  return readdirSync(path, { withFileTypes: true }).flatMap((entry) => {
    const name = `${folder}/${entry.name}`
    if (entry.name === 'node_modules') return [] // That of bench/peers.
    if (entry.isDirectory()) return filesBelow(name)
    return /\.ts$/.test(entry.name) && !entry.name.endsWith('.d.ts') ? [name] : []
  })
}

function sameList(a, b) {
  return a.length === b.length && a.every((value, i) => value === b[i])
}

function modifiedMs(path) {
  return statSync(path).mtimeMs
}

function touch(path, time) {
  if (existsSync(path)) utimesSync(path, time, time)
}

/** Runs a command on our own terminal. Returns its exit code. */
function run(command, options, shell) {
  const result = spawnSync(command, options, { cwd: root, stdio: 'inherit', shell })
  if (result.error) fail(`could not run ${command}: ${result.error.message}`, 1)
  if (result.signal) process.kill(process.pid, result.signal)
  return result.status === null ? 1 : result.status
}

function say(text) {
  console.log(`ringcast: ${text}`)
}

function fail(text, code) {
  console.error(`ringcast: ${text}`)
  process.exit(code)
}
