/**
 * The floor for every system that runs on WebSockets: broadcast on bare uWebSockets.js.
 * Runs on: a process of its own. Owns: its app and sockets.
 *
 *   [1 | length | topic]             subscribe; answered with an empty frame
 *   [2 | length | topic | payload]   publish: goes as it is to everybody who subscribed
 *
 * Made for the comparison through client libraries (bench/peers); uws-control.ts speaks ringcast's
 * own protocol for the load generator. maxBackpressure is far above every window: it must not drop.
 */
import uWS from 'uWebSockets.js'

const BACKPRESSURE_BYTES_MAX = 64 * 2 ** 20
const SUBSCRIBE = 1

const app = uWS.App()
app.ws<object>('/*', {
  maxBackpressure: BACKPRESSURE_BYTES_MAX,
  idleTimeout: 0,
  sendPingsAutomatically: false,
  message(ws, message) {
    const frame = Buffer.from(message)
    const topic = frame.toString('latin1', 2, 2 + (frame[1] ?? 0))
    if (frame[0] === SUBSCRIBE) {
      ws.subscribe(topic)
      ws.send('', true)
    } else app.publish(topic, frame, true)
  },
})
app.get('/health', (response) => {
  response.end('{"status":"ok"}')
})
app.listen('127.0.0.1', 0, (socket) => {
  if (!socket) throw new Error('the control could not listen')
  console.log(JSON.stringify({ msg: 'control listening', port: uWS.us_socket_local_port(socket) }))
})

// Open sockets at exit would abort the process.
process.once('SIGTERM', () => app.close())
