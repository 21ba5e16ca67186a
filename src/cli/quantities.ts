import { NoodleError } from "../common/index.ts";

const SIZE_UNITS: Readonly<Record<string, number>> = {
  b: 1,
  k: 2 ** 10,
  kib: 2 ** 10,
  kb: 1e3,
  m: 2 ** 20,
  mib: 2 ** 20,
  mb: 1e6,
  g: 2 ** 30,
  gib: 2 ** 30,
  gb: 1e9,
  t: 2 ** 40,
  tib: 2 ** 40,
  tb: 1e12,
};

/** Reads `8GiB`, `500MB`, `1.5g` or plain bytes. @throws USAGE naming `option` */
export function parseSizeBytes(text: string, option: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text.trim());
  const unit = SIZE_UNITS[(match?.[2] ?? "").toLowerCase() || "b"];
  const bytes = Math.round(Number(match?.[1]) * (unit ?? Number.NaN));
  if (!Number.isSafeInteger(bytes) || bytes <= 0) {
    throw new NoodleError("USAGE", `${option} "${text}" is not a size such as 8GiB, 500MB or 1073741824`);
  }
  return bytes;
}

/** Reads a whole number within limits. @throws USAGE naming `option` and the limits */
export function parseInteger(text: string, option: string, min: number, max = Number.MAX_SAFE_INTEGER): number {
  const value = /^-?\d+$/.test(text.trim()) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value) || value < min || value > max) {
    const limit = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`;
    throw new NoodleError("USAGE", `${option} "${text}" is not a whole number ${limit}`);
  }
  return value;
}

/** Reads `1,2,4`. @throws USAGE naming `option` and the limits */
export function parseIntegers(text: string, option: string, min: number): readonly number[] {
  return text.split(",").map((part) => parseInteger(part, option, min));
}

const MS_OF_UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, min: 60_000, h: 3_600_000 };

/** Reads `60s`, `500ms`, `2.5m`, or plain seconds. @throws USAGE naming `option` */
export function parseDurationMs(text: string, option: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text.trim());
  const unit = MS_OF_UNITS[(match?.[2] ?? "").toLowerCase() || "s"];
  const ms = Math.round(Number(match?.[1]) * (unit ?? Number.NaN));
  if (!Number.isSafeInteger(ms) || ms <= 0) {
    throw new NoodleError("USAGE", `${option} "${text}" is not a time such as 60s, 500ms or 2m`);
  }
  return ms;
}

/** Reads a decimal number within limits. @throws USAGE naming `option` and the limits */
export function parseDecimal(text: string, option: string, min: number, max: number): number {
  const value = text.trim() === "" ? Number.NaN : Number(text);
  if (!Number.isFinite(value) || value < min || value > max) {
    throw new NoodleError("USAGE", `${option} "${text}" is not a number from ${min} to ${max}`);
  }
  return value;
}

/** `1536` becomes `1.5 KiB`. */
export function formatBytes(bytes: number): string {
  const names = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let index = 0;
  while (value >= 1024 && index < names.length - 1) {
    value /= 1024;
    index += 1;
  }
  return `${index === 0 ? value : value.toFixed(value < 10 ? 2 : 1)} ${names[index] ?? ""}`;
}

/** `6200000` becomes `6.2 M`. */
export function formatCount(count: number): string {
  if (count >= 1e9) return `${(count / 1e9).toFixed(2)} G`;
  if (count >= 1e6) return `${(count / 1e6).toFixed(1)} M`;
  if (count >= 1e3) return `${(count / 1e3).toFixed(1)} k`;
  return String(count);
}

/** Milliseconds with three significant places below ten; `-` where there is none. */
export function formatMs(ms: number | null): string {
  if (ms === null) return "-";
  return ms < 10 ? ms.toFixed(3) : ms.toFixed(1);
}

/** `1 token`, `2 tokens`. */
export function countNoun(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}
