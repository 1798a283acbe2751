/**
 * Two web servers, each with a cache in its own memory. Who writes publishes the key, and all others
 * forget it. A cache that may have missed something (a gap, a new log) forgets everything.
 * You should see: misses, then hits; after a write the other server reads the new value.
 */
import { connect } from 'ringcast/client'

const url = process.env.RINGCAST_URL ?? 'ws://127.0.0.1:8080/ws'
const TOPIC = 'examples.cache.products'
const database = new Map([
  ['tea', 4.5],
  ['milk', 1.2],
]) // Stands for a slow one.

class Server {
  #cache = new Map()

  static async start(name) {
    const server = new Server()
    server.name = name
    server.client = await connect(url)
    const invalidations = server.client.subscribe(TOPIC, ({ payload, headers }) => {
      if (headers.from === name) return // Our own write.
      server.#cache.delete(payload.key)
      console.log(`${name} forgets ${payload.key}`)
      server.onForgotten?.()
    })
    const clear = () => server.#cache.clear()
    invalidations.on('gap', clear).on('epoch', clear)
    invalidations.on('resumed', (recovered) => recovered || clear())
    await invalidations.ready
    return server
  }

  read(key) {
    const isHit = this.#cache.has(key)
    if (!isHit) this.#cache.set(key, database.get(key))
    console.log(`${this.name} reads ${key}: ${this.#cache.get(key)} (${isHit ? 'hit' : 'miss'})`)
  }

  /** Resolves once the invalidation is stored: every server gets it, also one that is away just now. */
  async write(key, value) {
    database.set(key, value)
    this.#cache.set(key, value)
    await this.client.publish(TOPIC, { key }, { headers: { from: this.name } })
    console.log(`${this.name} writes ${key}: ${value}`)
  }
}

const [a, b] = [await Server.start('A'), await Server.start('B')]
for (const server of [a, b]) server.read('tea')
for (const server of [a, b]) server.read('tea')

const forgotten = new Promise((resolve) => {
  b.onForgotten = resolve
})
await a.write('tea', 4.9)
await forgotten
b.read('tea')
a.read('tea')
a.client.close()
b.client.close()
