/**
 * `npm run dev`: compiles on every change, and starts the broker again after each compilation without
 * errors. tsc's own report is the signal; watching dist would see a half-written build.
 * Runs on: its own process; owns one tsc and one broker process.
 */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

const STOP_TIMEOUT_MS = 5_000

const compiler = spawn(
  process.execPath,
  [
    'node_modules/typescript/bin/tsc',
    '--watch',
    '--preserveWatchOutput',
    '-p',
    'tsconfig.build.json',
  ],
  { stdio: ['ignore', 'pipe', 'inherit'] },
)
let broker
let restarting = false
let restartAgain = false

createInterface({ input: compiler.stdout }).on('line', (line) => {
  if (line.trim() !== '') console.log(line)
  if (/Found 0 errors/.test(line)) void restart()
})
compiler.on('exit', (code) => finish(code ?? 1))
process.on('SIGINT', () => finish(0))
process.on('SIGTERM', () => finish(0))

async function restart() {
  if (restarting) {
    restartAgain = true
    return
  }
  restarting = true
  do {
    restartAgain = false
    await stop()
    broker = spawn(process.execPath, ['dist/src/main.js', ...process.argv.slice(2)], {
      stdio: 'inherit',
    })
  } while (restartAgain)
  restarting = false
}

/** Asks the broker to drain; ends it when it takes too long. */
function stop() {
  const running = broker
  if (!running || running.exitCode !== null || running.signalCode !== null) return undefined
  return new Promise((resolve) => {
    const deadline = setTimeout(() => running.kill('SIGKILL'), STOP_TIMEOUT_MS)
    running.on('exit', () => {
      clearTimeout(deadline)
      resolve()
    })
    running.kill('SIGTERM')
  })
}

async function finish(code) {
  compiler.removeAllListeners('exit')
  compiler.kill()
  await stop()
  process.exit(code)
}
