/**
 * Serves the page and the browser build of the SDK, nothing else; then open what it prints.
 * You should see: the address of the page. In the page: the state of the connection, what you publish
 * and what others publish, also in other windows, and that it comes back after the broker does.
 * Runs until Ctrl-C. PORT is that of the page, 8081 unless told; RINGCAST_URL that of the broker.
 */
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'

const FILES = {
  '/': { file: new URL('index.html', import.meta.url), type: 'text/html; charset=utf-8' },
  '/ringcast.js': {
    file: new URL('../../dist/browser/ringcast.js', import.meta.url),
    type: 'text/javascript; charset=utf-8',
  },
}
const broker = process.env.RINGCAST_URL ?? 'ws://127.0.0.1:8080/ws'

const server = createServer(async (request, response) => {
  const { pathname } = new URL(request.url, 'http://localhost')
  const found = FILES[pathname]
  if (found === undefined) {
    response.writeHead(404, { 'content-type': 'text/plain' }).end('there is nothing here')
    return
  }
  try {
    const content = await readFile(found.file)
    response.writeHead(200, { 'content-type': found.type }).end(content)
  } catch (error) {
    response.writeHead(500).end(`${error.message}\n`) // Not built yet: npm run build.
  }
})

server.listen(Number(process.env.PORT ?? 8081), '127.0.0.1', () => {
  const { port } = server.address()
  console.log(`open http://127.0.0.1:${port}/?broker=${encodeURIComponent(broker)}`)
})
process.once('SIGINT', () => {
  server.closeAllConnections()
  server.close()
})
