import { NoodleError } from "../common/index.ts";

/**
 * Strings of the file to strings of the language and back, without loss. Bytes that are no UTF-8 (broken converters
 * leave some in vocabularies) become lone low surrogates, byte 0xNN as U+DCNN, which no valid UTF-8 decodes to.
 */

const LONE_SURROGATE = /\p{Surrogate}/u;
const ESCAPE_BASE = 0xdc00;
const MAX_QUOTED = 100;

/** Decodes `bytes[start, end)`. A byte order mark at the start is kept: vocabularies have it as a token. */
export function decodeText(bytes: Buffer, start: number, end: number): string {
  const text = bytes.toString("utf8", start, end);
  // The decoder replaces what it cannot read by U+FFFD, which may also stand in the file itself.
  return text.includes("\ufffd") ? decodeWithEscapes(bytes, start, end) : text;
}

/** Inverse of `decodeText`. @throws NoodleError `GGUF_MALFORMED` for a surrogate that stands for no byte. */
export function encodeText(text: string): Uint8Array {
  if (!LONE_SURROGATE.test(text)) return Buffer.from(text, "utf8");
  const pieces: Buffer[] = [];
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    if (code < 0xd800 || code > 0xdfff) {
      pieces.push(Buffer.from(character, "utf8"));
    } else if (code >= ESCAPE_BASE + 0x80 && code <= ESCAPE_BASE + 0xff) {
      pieces.push(Buffer.from([code - ESCAPE_BASE]));
    } else {
      throw new NoodleError("GGUF_MALFORMED", `a string holds the lone surrogate U+${code.toString(16).toUpperCase()}`);
    }
  }
  return Buffer.concat(pieces);
}

/** A key or name for a message: quoted, control characters escaped, of bounded length. */
export function quoteName(name: string): string {
  return JSON.stringify(name.length > MAX_QUOTED ? `${name.slice(0, MAX_QUOTED)}...` : name);
}

function decodeWithEscapes(bytes: Buffer, start: number, end: number): string {
  let text = "";
  let validFrom = start;
  for (let at = start; at < end; ) {
    const length = sequenceLength(bytes, at, end);
    if (length > 0) {
      at += length;
      continue;
    }
    if (at > validFrom) text += bytes.toString("utf8", validFrom, at);
    text += String.fromCharCode(ESCAPE_BASE + (bytes[at] ?? 0));
    at += 1;
    validFrom = at;
  }
  return text + bytes.toString("utf8", validFrom, end);
}

/** Bytes of the well-formed UTF-8 sequence at `at`, or 0. @see The Unicode Standard, table 3-7 */
function sequenceLength(bytes: Buffer, at: number, end: number): number {
  const lead = bytes[at] ?? 0;
  if (lead < 0x80) return 1;
  const length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || at + length > end) return 0;
  // The second byte's range excludes overlong forms, surrogates and what lies beyond U+10FFFF.
  const lowest = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
  const highest = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
  for (let index = 1; index < length; index++) {
    const byte = bytes[at + index] ?? 0;
    if (byte < (index === 1 ? lowest : 0x80) || byte > (index === 1 ? highest : 0xbf)) return 0;
  }
  return length;
}
