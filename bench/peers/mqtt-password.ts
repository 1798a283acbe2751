/**
 * The password of Mosquitto while it is measured: a new one each time, handed to the end processes
 * by the environment.
 * Runs on: every process of the comparison. Owns: one environment variable.
 *
 * Mosquitto 2.0 binds a WebSocket listener to every interface, whatever address it is told
 * (eclipse-mosquitto/mosquitto, issues 1764 and 3045): so nobody else may talk to it. Checked once
 * per connection, it costs no message anything.
 */
import { pbkdf2Sync, randomBytes } from 'node:crypto'

const VARIABLE = 'RINGCAST_BENCH_MQTT_PASSWORD'
const ITERATIONS = 101
const KEY_BYTES = 64
const SALT_BYTES = 12

export const MQTT_USER = 'bench'
process.env[VARIABLE] ??= randomBytes(16).toString('hex')
export const MQTT_PASSWORD = process.env[VARIABLE]

/** A line of Mosquitto's password file: PBKDF2 with SHA-512, the format of `mosquitto_passwd`. */
export function passwordLine(): string {
  const salt = randomBytes(SALT_BYTES)
  const key = pbkdf2Sync(MQTT_PASSWORD ?? '', salt, ITERATIONS, KEY_BYTES, 'sha512')
  return `${MQTT_USER}:$7$${ITERATIONS}$${salt.toString('base64')}$${key.toString('base64')}\n`
}
