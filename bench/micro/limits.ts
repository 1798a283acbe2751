/**
 * What the machine and Node allow at best, without a broker: a system call, bytes through loopback.
 * (Memory is the group `copy`.)
 * Runs on: whoever runs the benchmarks. Owns: a file descriptor and two sockets, until close().
 *
 * Both ends of the loopback connection are on this one thread, as they never are for a broker: its
 * GB/s are what one thread can send and receive.
 */
import { closeSync, openSync, writeSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import type { MicroCase, MicroGroup } from './case.js'

const CALLS = 256
const CHUNK_BYTES = 64 * 1024
/** At once: enough to keep the kernel busy, few enough to stay in its buffers. */
const CHUNKS = 16

export function limits(): MicroGroup {
  const nowhere = openSync('/dev/null', 'w')
  const byte = Buffer.of(0)
  const loopback = new Loopback()
  const cases: MicroCase[] = [
    {
      name: 'system call: writeSync() of 1 B to /dev/null',
      operations: CALLS,
      run() {
        for (let call = 0; call < CALLS; call++) writeSync(nowhere, byte)
      },
    },
    {
      name: `loopback TCP: send and receive ${CHUNK_BYTES} B`,
      operations: CHUNKS,
      bytes: CHUNK_BYTES,
      run: async () => loopback.pass(),
    },
  ]
  return {
    name: 'limits',
    cases,
    async close() {
      closeSync(nowhere)
      await loopback.close()
    },
  }
}

class Loopback {
  readonly #chunk = Buffer.alloc(CHUNK_BYTES)
  readonly #server: Server
  readonly #receiver: Promise<Socket>
  #sender: Socket | undefined
  #missing = 0
  #passed: () => void = () => {}

  constructor() {
    this.#server = createServer({ noDelay: true })
    this.#receiver = new Promise((resolve) => {
      this.#server.once('connection', (socket) => {
        socket.on('data', ({ length }) => this.#onBytes(length))
        resolve(socket)
      })
    })
  }

  async pass(): Promise<void> {
    this.#sender ??= await this.#connected()
    const passed = new Promise<void>((resolve) => {
      this.#passed = resolve
    })
    this.#missing = CHUNKS * CHUNK_BYTES
    for (let chunk = 0; chunk < CHUNKS; chunk++) this.#sender.write(this.#chunk)
    await passed
  }

  async close(): Promise<void> {
    if (this.#sender === undefined) return
    this.#sender.destroy()
    const receiver = await this.#receiver
    receiver.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  async #connected(): Promise<Socket> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    const { port } = this.#server.address() as AddressInfo
    const sender = connect({ port, host: '127.0.0.1', noDelay: true })
    await this.#receiver
    return sender
  }

  #onBytes(length: number): void {
    this.#missing -= length
    if (this.#missing <= 0) this.#passed()
  }
}
