/**
 * nats-server (Debian) as a child process, with JetStream if that is wanted.
 * Runs on: the benchmark's main process. Owns: the child, and the folder that JetStream keeps.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface NatsServer {
  readonly port: number
  stop(): Promise<void>
}

/** undefined when it is not installed. */
export async function startNats({ isJetStream = false } = {}): Promise<NatsServer | undefined> {
  const port = await freePort()
  const folder = isJetStream ? mkdtempSync(join(tmpdir(), 'bench-jetstream-')) : undefined
  const store = folder === undefined ? [] : ['-js', '-sd', folder]
  const args = ['-a', '127.0.0.1', '-p', String(port), ...store]
  const child = spawn('nats-server', args, { stdio: 'pipe' })
  const isThere = await new Promise<boolean>((resolve) => {
    child.once('error', () => resolve(false))
    child.stderr?.on('data', (text: Buffer) => {
      if (text.includes('Server is ready')) resolve(true)
    })
  })
  if (!isThere) {
    console.error('nats-server is not installed (apt-get install nats-server): left out')
    return undefined
  }
  return {
    port,
    stop: () =>
      new Promise((resolve) => {
        child.once('close', () => {
          if (folder !== undefined) rmSync(folder, { recursive: true, force: true })
          resolve()
        })
        child.kill('SIGTERM')
      }),
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' ? (address?.port ?? 0) : 0))
    })
  })
}
