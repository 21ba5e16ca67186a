/** Three significant digits, no exponent, thousands apart: `0.0123`, `4.56`, `12,300`. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return "-";
  if (value === 0) return "0";
  const rounded = Number(value.toPrecision(3));
  const size = Math.abs(rounded);
  if (size >= 1000) return groupThousands(rounded);
  return rounded.toFixed(Math.min(12, Math.max(0, 2 - Math.floor(Math.log10(size)))));
}

/** A whole number, thousands apart. */
export function formatCount(value: number): string {
  return groupThousands(Math.round(value));
}

/** `0.0123 ms`, `4.56 ms`, `1.23 s` from a second on. */
export function formatMs(ms: number): string {
  return Math.abs(ms) >= 1000 ? `${formatNumber(ms / 1000)} s` : `${formatNumber(ms)} ms`;
}

export function formatPercent(ratio: number): string {
  const percent = ratio * 100;
  if (!Number.isFinite(percent)) return "-";
  if (percent !== 0 && Math.abs(percent) < 0.1) return "<0.1%";
  return Math.abs(percent) < 10 ? `${percent.toFixed(1)}%` : `${percent.toFixed(0)}%`;
}

/** `1.18x`. */
export function formatRatio(ratio: number): string {
  return `${formatNumber(ratio)}x`;
}

export function formatBytes(bytes: number): string {
  const names = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let index = 0;
  while (value >= 1024 && index < names.length - 1) {
    value /= 1024;
    index += 1;
  }
  return `${formatNumber(value)} ${names[index] ?? ""}`;
}

/** `4 h 12 min`, `3 min 20 s`, `12.3 s`. */
export function formatDuration(seconds: number): string {
  if (seconds < 60) return `${formatNumber(seconds)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  const minutes = Math.round(whole / 60);
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** `a`, `a and b`, `a, b and c`. */
export function joinWords(words: readonly string[]): string {
  if (words.length <= 1) return words[0] ?? "";
  return `${words.slice(0, -1).join(", ")} and ${words.at(-1) ?? ""}`;
}

export function capitalize(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function groupThousands(value: number): string {
  const [whole = "", fraction] = String(value).split(".");
  if (whole.includes("e")) return String(value);
  const grouped = whole.replace(/\B(?=(\d{3})+(?!\d))/g, ",");
  return fraction === undefined ? grouped : `${grouped}.${fraction}`;
}
