/** UUIDs between text and 16 bytes. Runs on: any thread. Owns: nothing; pure. */

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

export const UUID_TEXT_BYTES = 36

export function isUuid(text: string): boolean {
  return UUID.test(text)
}

/** The 16 bytes of a UUID that isUuid() accepted. */
export function uuidBytes(text: string): Buffer {
  return Buffer.from(text.replaceAll('-', ''), 'hex')
}

const HEX = new Uint8Array(512)
for (let byte = 0; byte < 256; byte++) {
  HEX.set(Buffer.from(byte.toString(16).padStart(2, '0')), byte * 2)
}

const HYPHEN = 0x2d
const NO_DIGIT = 0xff
/** The value of a hexadecimal digit, by its character. */
const DIGITS = new Uint8Array(256).fill(NO_DIGIT)
for (let digit = 0; digit < 16; digit++) {
  const lower = digit.toString(16)
  DIGITS[lower.charCodeAt(0)] = digit
  DIGITS[lower.toUpperCase().charCodeAt(0)] = digit
}

/** The 16 bytes of the UUID whose text stands at `at`, or undefined if none does. */
export function readUuidText(text: Uint8Array, at: number): Buffer | undefined {
  const bytes = Buffer.allocUnsafe(16)
  let next = at
  for (let index = 0; index < 16; index++) {
    if (index === 4 || index === 6 || index === 8 || index === 10) {
      if (text[next++] !== HYPHEN) return undefined
    }
    const high = DIGITS[text[next] as number] ?? NO_DIGIT
    const low = DIGITS[text[next + 1] as number] ?? NO_DIGIT
    if (high === NO_DIGIT || low === NO_DIGIT) return undefined
    bytes[index] = (high << 4) | low
    next += 2
  }
  return bytes
}

/** Writes the text of the UUID at bytes[from] to target[at]; returns the offset behind it. */
export function writeUuidText(
  target: Uint8Array,
  at: number,
  bytes: Uint8Array,
  from: number,
): number {
  let next = at
  for (let index = 0; index < 16; index++) {
    if (index === 4 || index === 6 || index === 8 || index === 10) target[next++] = HYPHEN
    const byte = bytes[from + index] as number
    target[next++] = HEX[byte * 2] as number
    target[next++] = HEX[byte * 2 + 1] as number
  }
  return next
}
