/** One array of all parts. A single part is passed on as it is. */
export function concatenate(parts: readonly Float32Array[]): Float32Array {
  const [first] = parts;
  if (parts.length === 1 && first !== undefined) return first;
  // Parts that lie one behind another in one buffer, as those of one engine call do, need no copy.
  let next = first?.byteOffset ?? 0;
  const joined = parts.every((part) => {
    const follows = part.buffer === first?.buffer && part.byteOffset === next;
    next += part.byteLength;
    return follows;
  });
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  if (joined && first !== undefined) return new Float32Array(first.buffer as ArrayBuffer, first.byteOffset, length);
  const all = new Float32Array(length);
  let offset = 0;
  for (const part of parts) {
    all.set(part, offset);
    offset += part.length;
  }
  return all;
}
