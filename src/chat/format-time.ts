const MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"]; // biome-ignore format: one row
const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/** `strftime` of the C library, in English and UTC; what it does not know stays as it is. */
export function formatTime(nowMs: number, format: string): string {
  const date = new Date(nowMs);
  const month = MONTHS[date.getUTCMonth()] ?? "";
  const day = DAYS[date.getUTCDay()] ?? "";
  const hour = date.getUTCHours();
  const pad = (value: number, digits = 2): string => String(value).padStart(digits, "0");
  const dayOfYear = Math.floor((nowMs - Date.UTC(date.getUTCFullYear(), 0, 1)) / 86_400_000) + 1;
  const values: Readonly<Record<string, string>> = {
    Y: pad(date.getUTCFullYear(), 4),
    y: pad(date.getUTCFullYear() % 100),
    m: pad(date.getUTCMonth() + 1),
    d: pad(date.getUTCDate()),
    e: String(date.getUTCDate()).padStart(2, " "),
    j: pad(dayOfYear, 3),
    B: month,
    b: month.slice(0, 3),
    A: day,
    a: day.slice(0, 3),
    H: pad(hour),
    I: pad(hour % 12 === 0 ? 12 : hour % 12),
    p: hour < 12 ? "AM" : "PM",
    M: pad(date.getUTCMinutes()),
    S: pad(date.getUTCSeconds()),
    Z: "UTC",
    z: "+0000",
    "%": "%",
  };
  return format.replace(/%([A-Za-z%])/g, (whole, letter: string) => values[letter] ?? whole);
}
