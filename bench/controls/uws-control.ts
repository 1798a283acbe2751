/**
 * The control: publish/subscribe on bare uWebSockets.js, one thread, nothing else.
 * Runs on: a process of its own. Owns: its app and sockets.
 *
 *   publish   → app.publish(topic, the frame as it came)   no copy of ours, no decoding of messages
 *   subscribe → ws.subscribe(topic), ack
 *
 * Just enough of the protocol for the load generator to run unchanged; no seqs, no history, no
 * gaps. The topic is cut out of the frame at known offsets, the cheapest way there is, so that the
 * control is as fast as this library gets. maxBackpressure is far above every window: it must not
 * drop.
 */
import uWS from 'uWebSockets.js'
import { arrayHeader, MsgpackCursor, shortText } from '../load/msgpack.js'

const BACKPRESSURE_BYTES_MAX = 64 * 2 ** 20
const PAYLOAD_BYTES_MAX = 16 * 2 ** 20
const JSON_TOPIC_KEY = '"topic":"'

interface Client {
  isMsgpack: boolean
}

const app = uWS.App()
const cursor = new MsgpackCursor()

app.ws<Client>('/ws', {
  maxBackpressure: BACKPRESSURE_BYTES_MAX,
  maxPayloadLength: PAYLOAD_BYTES_MAX,
  idleTimeout: 0,
  upgrade(response, request, context) {
    const protocol = request.getHeader('sec-websocket-protocol')
    response.upgrade<Client>(
      { isMsgpack: protocol.endsWith('msgpack') },
      request.getHeader('sec-websocket-key'),
      protocol,
      request.getHeader('sec-websocket-extensions'),
      context,
    )
  },
  message(ws, message) {
    const frame = Buffer.from(message)
    if (ws.getUserData().isMsgpack) onMsgpack(ws, frame)
    else onJson(ws, frame)
  },
})
app.get('/health', (response) => {
  response.end('{"status":"ok"}')
})

function onMsgpack(ws: uWS.WebSocket<Client>, frame: Buffer): void {
  cursor.attach(frame, 0, frame.length)
  cursor.arrayLength()
  const isPublish = cursor.number() === 1
  if (isPublish) {
    cursor.skip() // Request id.
    app.publish(topicAt(cursor), frame, true)
    return
  }
  const requestId = cursor.text()
  const topic = topicAt(cursor)
  ws.subscribe(topic)
  const head = Buffer.concat([arrayHeader(4), Buffer.of(33)])
  ws.send(Buffer.concat([head, shortText(requestId), shortText(topic), Buffer.of(0x80)]), true)
}

/** Topics here are ASCII. */
function topicAt(at: MsgpackCursor): string {
  const start = at.bytesStart()
  return at.bytes.toString('latin1', start, at.at)
}

function onJson(ws: uWS.WebSocket<Client>, frame: Buffer): void {
  // Every frame of the generator has type and topic in its first bytes.
  const head = frame.toString('latin1', 0, 300)
  const topicStart = head.indexOf(JSON_TOPIC_KEY) + JSON_TOPIC_KEY.length
  const topic = head.slice(topicStart, head.indexOf('"', topicStart))
  if (head.startsWith('{"type":"publish')) {
    app.publish(topic, frame, false)
    return
  }
  ws.subscribe(topic)
  ws.send(JSON.stringify({ type: 'ack', request_id: 's', topic, status: 'ok' }))
}

app.listen('127.0.0.1', 0, (socket) => {
  if (!socket) throw new Error('the control could not listen')
  console.log(JSON.stringify({ msg: 'control listening', port: uWS.us_socket_local_port(socket) }))
})

// Open sockets at exit would abort the process.
process.once('SIGTERM', () => app.close())
