/** Figures as people read them, three significant digits at most. */

export function sayBytes(bytes: number): string {
  const names = ["bytes", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let index = 0;
  while (value >= 1000 && index < names.length - 1) {
    value /= 1000;
    index += 1;
  }
  return `${sayNumber(value)} ${names[index] ?? ""}`;
}

export function sayMs(ms: number): string {
  return ms < 0.1 ? `${sayNumber(ms * 1000)} us` : `${sayNumber(ms)} ms`;
}

export function saySharePercent(share: number): string {
  const percent = share * 100;
  return `${percent < 10 ? percent.toFixed(1) : percent.toFixed(0)}%`;
}

export function sayRate(gigaPerSecond: number, unit: "GB/s" | "GFLOP/s"): string {
  return `${sayNumber(gigaPerSecond)} ${unit}`;
}

export function sayFlops(flops: number): string {
  if (flops >= 1e9) return `${sayNumber(flops / 1e9)} GFLOP`;
  return flops >= 1e6 ? `${sayNumber(flops / 1e6)} MFLOP` : `${sayNumber(flops / 1e3)} kFLOP`;
}

export function sayCount(count: number, one: string): string {
  return `${count} ${one}${count === 1 ? "" : "s"}`;
}

export function sayNumber(value: number): string {
  if (value === 0) return "0";
  if (Math.abs(value) >= 100) return value.toFixed(0);
  return String(Number(value.toPrecision(3)));
}
