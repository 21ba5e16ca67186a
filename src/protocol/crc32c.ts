/** Castagnoli's polynomial, reflected. */
const POLYNOMIAL = 0x82f63b78;

/** Bytes taken in one turn of the loop: 16 is 1.4 times as fast as 8 (1.7 against 1.2 GB/s where it was measured). */
const SLICE = 16;

const TABLES = buildTables();
const NO_WORDS = new Int32Array(0);

/** `TABLES[j * 256 + b]` is the checksum's change by byte `b` followed by `j` zero bytes. */
function buildTables(): Int32Array {
  const tables = new Int32Array(256 * SLICE);
  for (let byte = 0; byte < 256; byte++) {
    let value = byte;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ POLYNOMIAL : value >>> 1;
    tables[byte] = value;
  }
  for (let index = 256; index < tables.length; index++) {
    const before = tables[index - 256] as number;
    tables[index] = (before >>> 8) ^ (tables[before & 255] as number);
  }
  return tables;
}

/**
 * CRC32C of `bytes`, or of the concatenation when `previous` is the checksum of what came before.
 *
 * @returns an unsigned 32-bit number
 */
export function crc32c(bytes: Uint8Array, previous = 0): number {
  const t = TABLES;
  const length = bytes.length;
  let crc = ~previous;
  let at = 0;
  // Bytes up to the first address that a 32-bit view may start at.
  const head = Math.min((4 - (bytes.byteOffset & 3)) & 3, length);
  while (at < head) crc = (crc >>> 8) ^ (t[(crc ^ (bytes[at++] as number)) & 255] as number);

  const turns = Math.floor((length - at) / SLICE);
  // With no turn to make, `at` may still be at an address that no view may start at.
  const words = turns === 0 ? NO_WORDS : new Int32Array(bytes.buffer, bytes.byteOffset + at, turns * 4);
  for (let word = 0; word < words.length; word += 4) {
    const a = crc ^ (words[word] as number);
    const b = words[word + 1] as number;
    const c = words[word + 2] as number;
    const d = words[word + 3] as number;
    crc =
      (t[3840 + (a & 255)] as number) ^
      (t[3584 + ((a >>> 8) & 255)] as number) ^
      (t[3328 + ((a >>> 16) & 255)] as number) ^
      (t[3072 + (a >>> 24)] as number) ^
      (t[2816 + (b & 255)] as number) ^
      (t[2560 + ((b >>> 8) & 255)] as number) ^
      (t[2304 + ((b >>> 16) & 255)] as number) ^
      (t[2048 + (b >>> 24)] as number) ^
      (t[1792 + (c & 255)] as number) ^
      (t[1536 + ((c >>> 8) & 255)] as number) ^
      (t[1280 + ((c >>> 16) & 255)] as number) ^
      (t[1024 + (c >>> 24)] as number) ^
      (t[768 + (d & 255)] as number) ^
      (t[512 + ((d >>> 8) & 255)] as number) ^
      (t[256 + ((d >>> 16) & 255)] as number) ^
      (t[d >>> 24] as number);
  }
  at += turns * SLICE;
  while (at < length) crc = (crc >>> 8) ^ (t[(crc ^ (bytes[at++] as number)) & 255] as number);
  return ~crc >>> 0;
}
