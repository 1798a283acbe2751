/**
 * What `ringcast pub` publishes: text from an argument, a file or the lines of stdin, as values.
 * Runs on: the command's process.
 */
import { readFile } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { Exit } from './exit-codes.js'
import { Failure } from './failure.js'

export const FORMATS = ['auto', 'json', 'text'] as const
export type Format = (typeof FORMATS)[number]

/** Text as a payload. Fails when it is to be JSON and is not; `where` says which text it is. */
export function payloadOf(text: string, format: Format, where: string): unknown {
  if (format === 'text') return text
  try {
    return JSON.parse(text)
  } catch (error) {
    if (format === 'auto') return text
    throw new Failure(Exit.usage, `${where} is no JSON: ${(error as Error).message}`)
  }
}

export async function readPayloadFile(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    throw new Failure(Exit.usage, `cannot read the file: ${(error as Error).message}`)
  }
}

/** The lines of a stream that are not empty, until it or `signal` ends. */
export async function* linesOf(
  input: NodeJS.ReadableStream,
  signal: AbortSignal,
): AsyncGenerator<string> {
  const lines = createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })
  const stop = () => lines.close()
  signal.addEventListener('abort', stop)
  try {
    for await (const line of lines) {
      if (signal.aborted) return
      if (line.trim() !== '') yield line
    }
  } finally {
    signal.removeEventListener('abort', stop)
    lines.close()
  }
}
