/** `3100000000` becomes `3.1 GB`. */
export function formatBytes(bytes: number): string {
  const names = ["bytes", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let index = 0;
  while (value >= 1000 && index < names.length - 1) {
    value /= 1000;
    index += 1;
  }
  return `${index === 0 ? value : Number(value.toPrecision(3))} ${names[index] ?? ""}`;
}

/** Four significant places: `12.34 ms`. */
export function formatMs(ms: number): string {
  return `${Number(ms.toPrecision(4))} ms`;
}
