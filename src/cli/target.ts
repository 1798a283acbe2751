/**
 * Which broker a command talks to: one URL in, both doors out.
 * Runs on: the command's process.
 *
 *   ws://host:8080/ws   http://host:8080   host:8080   →   ws://host:8080/ws and http://host:8080
 */
import { InvalidArgumentError } from 'commander'

export const DEFAULT_URL = 'ws://127.0.0.1:8080/ws'
const WEBSOCKET_PATH = '/ws'
const SCHEMES: Readonly<Record<string, { readonly ws: string; readonly http: string }>> = {
  'ws:': { ws: 'ws:', http: 'http:' },
  'http:': { ws: 'ws:', http: 'http:' },
  'wss:': { ws: 'wss:', http: 'https:' },
  'https:': { ws: 'wss:', http: 'https:' },
}

export interface Target {
  readonly wsUrl: string
  /** Without a slash at the end. */
  readonly httpUrl: string
}

/** Throws InvalidArgumentError, which commander makes a usage error of. */
export function parseTarget(text: string): Target {
  const full = text.includes('://') ? text : `ws://${text}`
  if (!URL.canParse(full)) throw new InvalidArgumentError('It must look like ws://host:8080/ws.')
  const url = new URL(full)
  const schemes = SCHEMES[url.protocol]
  if (schemes === undefined) {
    throw new InvalidArgumentError('It must begin with ws://, wss://, http:// or https://.')
  }
  if (url.username !== '' || url.password !== '') {
    throw new InvalidArgumentError('It must not hold a user name or password.')
  }
  const path = url.pathname.replace(/\/+$/, '')
  const prefix = path.endsWith(WEBSOCKET_PATH) ? path.slice(0, -WEBSOCKET_PATH.length) : path
  return {
    wsUrl: `${schemes.ws}//${url.host}${prefix}${WEBSOCKET_PATH}`,
    httpUrl: `${schemes.http}//${url.host}${prefix}`,
  }
}
