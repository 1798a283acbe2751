/**
 * `npm run lock:complete`: adds to package-lock.json the packages of other platforms that npm left out.
 * A registry mirror need not hold @biomejs/cli-darwin-arm64 and its like; npm then writes a lock file
 * without them, and refuses that same file in `npm ci`, everywhere. Their version stands in the package
 * that wants them, the platform in their name; only the integrity hash is not known, and npm checks none.
 * Run it after each `npm install` of something with binaries; test/lock.test.ts says when that is due.
 */
import { readFileSync, writeFileSync } from 'node:fs'

const SYSTEMS = ['aix', 'android', 'darwin', 'freebsd', 'linux', 'netbsd', 'openbsd', 'openharmony']
const PROCESSORS = ['arm', 'arm64', 'ia32', 'loong64', 'ppc64', 'riscv64', 's390x', 'x64']

const file = new URL('../package-lock.json', import.meta.url)
const lock = JSON.parse(readFileSync(file, 'utf8'))
const packages = lock.packages

for (const [path, wanting] of Object.entries(packages)) {
  for (const [name, version] of Object.entries(wanting.optionalDependencies ?? {})) {
    if (packages[`node_modules/${name}`] || packages[`${path}/node_modules/${name}`]) continue
    packages[`node_modules/${name}`] = entryOf(name, version, wanting)
    console.log(`added ${name}@${version}`)
  }
}

// The order that npm writes, so that the next `npm install` changes nothing else.
lock.packages = Object.fromEntries(
  Object.entries(packages).sort(([a], [b]) => a.localeCompare(b, 'en')),
)
writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`)

function entryOf(name, version, wanting) {
  const words = name.split('/').at(-1).split('-')
  const os = words.find((word) => [...SYSTEMS, 'sunos', 'win32'].includes(word))
  const cpu = words.find((word) => PROCESSORS.includes(word))
  if (!os || !cpu || !/^\d+\.\d+\.\d+$/.test(version)) {
    throw new Error(
      `${name}@${version} names no exact version, system and processor; add it by hand`,
    )
  }
  return {
    version,
    cpu: [cpu],
    ...(wanting.dev ? { dev: true } : {}),
    ...libcOf(os, words),
    optional: true,
    os: [os],
  }
}

function libcOf(os, words) {
  if (words.some((word) => word.startsWith('musl'))) return { libc: ['musl'] }
  if (os === 'linux' && words.some((word) => word.startsWith('gnu'))) return { libc: ['glibc'] }
  return {}
}
