const BYTES_OF_UNITS: Readonly<Record<string, number>> = {
  B: 1,
  KiB: 2 ** 10,
  kB: 1e3,
  KB: 1e3,
  MiB: 2 ** 20,
  MB: 1e6,
  GiB: 2 ** 30,
  GB: 1e9,
  TiB: 2 ** 40,
  TB: 1e12,
};

export const SIZE_PATTERN = /^(\d+(?:\.\d+)?) ?([KMGT]iB|[kKMGT]?B)$/;

/** `12GiB`, `500 MB`; null for anything else. */
export function parseSize(text: string): number | null {
  const match = SIZE_PATTERN.exec(text);
  const unit = BYTES_OF_UNITS[match?.[2] ?? ""];
  return match === null || unit === undefined ? null : Math.round(Number(match[1]) * unit);
}

const BITS_OF_UNITS: Readonly<Record<string, number>> = { "": 1, k: 1e3, K: 1e3, M: 1e6, G: 1e9, T: 1e12 };

export const BANDWIDTH_PATTERN = /^(\d+(?:\.\d+)?) ?([kKMGT]?)(bit\/s|B\/s)$/;

/** `1Gbit/s`, `125 MB/s`, in bytes per millisecond; null for anything else. */
export function parseBandwidth(text: string): number | null {
  const match = BANDWIDTH_PATTERN.exec(text);
  const scale = BITS_OF_UNITS[match?.[2] ?? ""];
  if (match === null || scale === undefined) return null;
  return (Number(match[1]) * scale) / (match[3] === "bit/s" ? 8 : 1) / 1000;
}

/** With enough digits to tell figures apart: `0.0123 ms`, `4.56 ms`, `789 ms`. */
export function sayMs(ms: number): string {
  return `${sayNumber(ms)} ms`;
}

/** Three significant digits, no exponent for what people meet. */
export function sayNumber(value: number): string {
  if (!Number.isFinite(value)) return "-";
  const rounded = Number(value.toPrecision(3));
  return Math.abs(rounded) >= 1e-6 && Math.abs(rounded) < 1e15 ? String(rounded) : value.toExponential(2);
}

/** `12.3%` */
export function sayShare(ratio: number): string {
  return `${sayNumber(ratio * 100)}%`;
}
