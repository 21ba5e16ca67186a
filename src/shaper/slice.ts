/** Views of `bytes` one behind another, each as long as `size` says, the last one shorter. @param size at least 1 */
export function slice(bytes: Buffer, size: () => number): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const piece = bytes.subarray(at, at + size());
    pieces.push(piece);
    at += piece.length;
  }
  return pieces;
}
