/** The known word that a misspelt one is most like; null when none is near. */
export function findNearest(word: string, known: readonly string[]): string | null {
  const short = word.slice(0, MAX_LENGTH).toLowerCase();
  let best: string | null = null;
  let least = Math.max(2, Math.floor(short.length / 2)) + 1;
  for (const candidate of known) {
    const distance = countEdits(short, candidate.toLowerCase());
    if (distance < least) [best, least] = [candidate, distance];
  }
  return best;
}

const MAX_LENGTH = 64;

/** Letters to put in, take out or change (Levenshtein). */
function countEdits(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const kept = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(kept, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
