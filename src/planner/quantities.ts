/** Four significant places: `12.34 ms`. */
export function formatMs(ms: number): string {
  return `${Number(ms.toPrecision(4))} ms`;
}
