/**
 * Makes known mistakes in a copy of the source, one by one, and plays simulated clusters until one of them shows. A mistake
 * that no seed finds fails the run. `npx tsx scripts/mutation-check.ts [WORD]`: only those with the word in their name.
 */
import { spawn } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Mutation, MUTATIONS } from "../test/simulation/mutations.ts";

const SEEDS = 600;
const LIMIT_MS = 90_000;
const AT_ONCE = 2;
const COPIED = ["src", "proto", "package.json", "tsconfig.json", "scripts/replay-seed.ts", "test/simulation"];

const root = join(import.meta.dirname, "..");
const [word = ""] = process.argv.slice(2);
const waiting = MUTATIONS.filter(({ name }) => name.includes(word));
let missed = 0;

async function work(): Promise<void> {
  for (let mutation = waiting.shift(); mutation !== undefined; mutation = waiting.shift()) {
    const startMs = performance.now();
    const { isFound, words } = await tryOut(mutation);
    const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
    if (!isFound) missed += 1;
    console.log(`${isFound ? "found " : "MISSED"} ${seconds.padStart(6)} s  ${mutation.name}: ${words}`);
  }
}

interface Verdict {
  readonly isFound: boolean;
  /** What showed it, or why nothing did. */
  readonly words: string;
}

async function tryOut({ file, edits }: Mutation): Promise<Verdict> {
  const copy = mkdtempSync(join(tmpdir(), "noodle-mutation-"));
  try {
    for (const path of COPIED) cpSync(join(root, path), join(copy, path), { recursive: true });
    symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
    let text = readFileSync(join(copy, file), "utf8");
    for (const { find, replace } of edits) {
      const count = text.split(find).length - 1;
      if (count !== 1) return { isFound: false, words: `${file} has ${count} times: ${find}` };
      text = text.replace(find, () => replace);
    }
    writeFileSync(join(copy, file), text);
    return await play(copy);
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

function play(directory: string): Promise<Verdict> {
  return new Promise((resolve, reject) => {
    const args = ["--import", "tsx", "scripts/replay-seed.ts", "1", String(SEEDS)];
    const child = spawn(process.execPath, args, {
      cwd: directory,
      stdio: ["ignore", "pipe", "pipe"],
      timeout: LIMIT_MS,
    });
    let said = "";
    let complaint = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (said += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (complaint += text));
    child.once("error", reject);
    child.once("close", (code) => {
      if (said.startsWith("seed ")) resolve({ isFound: true, words: said.slice(0, 160).replaceAll(/\s+/g, " ") });
      else if (code === 0) resolve({ isFound: false, words: `no seed of ${SEEDS} shows it` });
      else resolve({ isFound: false, words: `the simulation ends with code ${code}: ${complaint.slice(-500)}` });
    });
  });
}

// What is found without a mistake says nothing about one.
const { isFound, words } = await tryOut({ name: "none", file: "package.json", edits: [] });
if (isFound) {
  console.log(`the source itself fails: ${words}`);
  process.exit(1);
}
await Promise.all(Array.from({ length: AT_ONCE }, work));
console.log(missed === 0 ? `all ${MUTATIONS.length} mistakes were found` : `${missed} mistakes were not found`);
process.exit(missed === 0 ? 0 : 1);
