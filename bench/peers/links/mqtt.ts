/**
 * An MQTT broker through MQTT.js, over TCP and over WebSocket, QoS 0.
 * Runs on: the end processes. Owns: one connection.
 */
import type { Target } from '../../load/plan.js'
import { importPeer } from '../folder.js'
import type { Link, OnPayload } from '../link.js'
import { MQTT_PASSWORD, MQTT_USER } from '../mqtt-password.js'

const QOS_0 = { qos: 0 }

/** What of the package is used here. */
interface MqttModule {
  readonly default: { connectAsync(url: string, options: object): Promise<MqttClient> }
}

interface MqttClient {
  on(event: 'message', listener: (topic: string, payload: Buffer) => void): void
  on(event: 'error' | 'close', listener: (error?: Error) => void): void
  publish(topic: string, payload: Buffer, options: object): void
  subscribeAsync(topic: string, options: object): Promise<unknown>
  end(force: boolean): void
}

export function open({ host, port }: Target): Promise<Link> {
  return openUrl(`mqtt://${host}:${port}`)
}

export function openWebSocket({ host, port }: Target): Promise<Link> {
  return openUrl(`ws://${host}:${port}`)
}

async function openUrl(url: string): Promise<Link> {
  const { default: mqtt } = await importPeer<MqttModule>('mqtt')
  const client = await mqtt.connectAsync(url, {
    protocolVersion: 4, // Shorter packets than those of 5, and Mosquitto's usual one.
    reconnectPeriod: 0,
    keepalive: 0,
    username: MQTT_USER,
    password: MQTT_PASSWORD,
    wsOptions: { perMessageDeflate: false },
  })
  let isClosed = false
  let deliver: OnPayload = () => {}
  for (const event of ['error', 'close'] as const) {
    client.on(event, (error) => {
      if (!isClosed) throw error ?? new Error('the MQTT broker broke the connection')
    })
  }
  client.on('message', (_, payload) => deliver(payload))
  return {
    publish: (topic, payload) => {
      client.publish(topic, payload, QOS_0)
      return true
    },
    room: async () => {},
    subscribe: async (topic, onMessage) => {
      deliver = onMessage
      await client.subscribeAsync(topic, QOS_0)
    },
    lost: () => 0,
    close: async () => {
      isClosed = true
      client.end(true)
    },
  }
}
