/**
 * uWebSockets.js, loaded with an explanation if it cannot be.
 * Runs on: the front thread. Owns: nothing. Only listener.ts uses it.
 *
 * The package is an alias of `uwebsockets` on npm: the official one is not there. Only its default
 * export works at run time; named imports type-check and then are missing.
 */
import type {
  HttpRequest,
  HttpResponse,
  TemplatedApp,
  us_listen_socket,
  us_socket_context_t,
  WebSocket,
} from 'uWebSockets.js'

export type { HttpRequest, HttpResponse, TemplatedApp, us_socket_context_t, WebSocket }
export type ListenSocket = us_listen_socket

export interface Uws {
  App(): TemplatedApp
  us_listen_socket_close(socket: ListenSocket): void
  us_socket_local_port(socket: ListenSocket): number
  readonly DISABLED: number
  readonly LIBUS_LISTEN_EXCLUSIVE_PORT: number
}

declare module 'uWebSockets.js' {
  interface TemplatedApp {
    listen(
      host: string,
      port: number,
      options: number,
      done: (socket: us_listen_socket | false) => void,
    ): TemplatedApp
  }
}

/** Rejects with one sentence that says why and what to do. */
export async function loadUws(): Promise<Uws> {
  try {
    return ((await import('uWebSockets.js')) as unknown as { default: Uws }).default
  } catch (error) {
    const { platform, arch, version } = process
    const lines = error instanceof Error ? error.message.split('\n') : [String(error)]
    const reason = lines.find((line) => line.startsWith('Error: ')) ?? lines[0]
    throw new Error(
      `uWebSockets.js has no binary that loads on ${platform}-${arch} with Node ${version} (${reason}): ` +
        'use Node 20 on a glibc Linux such as Debian 12, macOS or Windows; ' +
        'Alpine and other musl systems are not supported, and Node 22 or newer needs glibc 2.38.',
      { cause: error },
    )
  }
}
