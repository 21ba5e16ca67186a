/**
 * Plays simulated clusters. `npx tsx scripts/replay-seed.ts SEED` tells what happened under one seed; with a second
 * number it plays as many seeds from there on, up to the first violation. Exit code 1 = there was one.
 */
import { simulate } from "../test/simulation/simulate.ts";

const [first = Number.NaN, count = 1] = process.argv.slice(2).map(Number);
if (!Number.isInteger(first) || !Number.isInteger(count)) {
  console.error("usage: npx tsx scripts/replay-seed.ts SEED [COUNT]");
  process.exit(2);
}

for (let seed = first; seed < first + count; seed++) {
  const { violations, log, outcomes } = await simulate(seed, count === 1);
  if (count === 1) console.log([...log, `requests: ${outcomes.join(", ")}`].join("\n"));
  if (violations.length === 0) continue;
  console.log(`seed ${seed}:\n  ${violations.join("\n  ")}`);
  process.exit(1);
}
console.log(`no violation in ${count} seed${count === 1 ? "" : "s"}`);
process.exit(0);
