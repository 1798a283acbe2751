/**
 * Puts the tables where a document wants them: between its two markers.
 * Runs on: the benchmark's main process. Owns: what stands between them.
 */
import { dirname, relative, sep } from 'node:path'

const BEGIN = '<!-- PEERS: begin. Written by `npm run bench:peers -- --into`. -->'
const END = '<!-- PEERS: end. -->'

/** The document with other tables. Throws when it has not both markers, in their order. */
export function withTables(document: string, tables: string): string {
  const [begin, end] = [document.indexOf(BEGIN), document.indexOf(END)]
  if (begin === -1 || end < begin) throw new Error(`the document has no «${BEGIN}» … «${END}»`)
  return `${document.slice(0, begin + BEGIN.length)}\n\n${tables}\n\n${document.slice(end)}`
}

/** Shows the picture of a file in a document. */
export function pictureIn(documentFile: string, pictureFile: string): string {
  const path = relative(dirname(documentFile), pictureFile).split(sep).join('/')
  return `![ringcast beside its peers](${path})`
}
