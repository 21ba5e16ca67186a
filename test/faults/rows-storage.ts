import { execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { must } from "../../src/common/index.ts";
import { Bed } from "./bed.ts";
import { describe } from "./rows-deaths.ts";
import { Served } from "./served.ts";
import { makeWanted } from "./streams.ts";
import { runUndisturbed, strike } from "./strike.ts";
import { findPause, judgeTalks, makeTalks, talk } from "./talks.ts";
import type { FaultRow, Lab, Trial } from "./types.ts";

const ARGS = ["--journal", "--context", "256", "--determinism", "strict"];
const NOTHING = { cause: null, detectMs: null, replanMs: null, nextTokenMs: null };

/** 17, 19, 20: what disks do. */
export const STORAGE: readonly FaultRow[] = [
  {
    row: 17,
    fault: "the disk of state and journal is full",
    how: "state on a tmpfs of 8 MiB that is filled while streams run, and emptied again",
    expected:
      "running streams finish or end with a typed error, new ones are refused by type or served; all is well when there is room",
    run: fillDisk,
    whyNot: () =>
      process.platform === "linux" && process.getuid?.() === 0 ? null : "mounting a tmpfs needs root on Linux",
  },
  {
    row: 19,
    fault: "a stage file is damaged, cut short, or another stage's",
    how: "the file of a worker that is down: one byte turned, half of it, the file of the stage beside it",
    expected: "refused by its hash and made again; never served",
    run: damageStageFile,
  },
  {
    row: 20,
    fault: "state and journal are damaged",
    how: "coordinator killed; header, pages in the middle, half of the file, all zeros, and the write-ahead log written over",
    expected: "found, set aside and said; the cluster serves again",
    run: damageState,
  },
];

async function fillDisk(lab: Lab): Promise<readonly Trial[]> {
  const mount = mkdtempSync(join(tmpdir(), "noodle-full-"));
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=8m", "none", mount]);
  try {
    await using served = await Served.start({ model: lab.model, args: ARGS, dataDir: mount });
    const talks = makeTalks(80);
    const alone = await Promise.all(talks.map((each) => talk(served, each)));
    let seen = 0;
    let fullMs = 0;
    const heard = await Promise.all(
      talks.map((each) =>
        talk(served, each, () => {
          seen += 1;
          if (seen !== 60) return;
          fullMs = performance.now();
          fill(join(mount, "filler"));
        }),
      ),
    );
    // An error event is a typed end; anything but that and the whole answer is none.
    const ended = heard.map((events) => (events.at(-1)?.data === "[DONE]" ? "whole" : readCode(events.at(-1)?.data)));
    const refused = await served.post("completions", { ...must(talks[0], "talk").body, max_tokens: 4 });
    const answer = refused === null ? "nothing" : `${refused.status} ${(await refused.text()).slice(0, 160)}`;
    rmSync(join(mount, "filler"));
    const freedMs = performance.now();
    const after = await served.until("it serves again", 30_000, async () => {
      const response = await served.post("completions", { ...must(talks[0], "talk").body, max_tokens: 4 });
      const text = response?.status === 200 ? await response.text() : "";
      return text.includes("[DONE]") ? await Promise.all(talks.map((each) => talk(served, each))) : null;
    });
    const recoveredMs = performance.now() - freedMs;
    const isTyped = ended.every((end) => end === "whole" || end !== null) && /^(200|503|507)/.test(answer);
    const told = `running streams: ${ended.map((end) => end ?? "cut off").join(", ")}; a new one: ${answer}`;
    const times = { ...NOTHING, nextTokenMs: findPause(heard, fullMs) };
    const full = judgeTalks("full", talks, alone, alone, times);
    const freed = judgeTalks("room again", talks, after, alone, { ...NOTHING, replanMs: recoveredMs });
    const trials = [{ ...full, streams: 0, sameTokens: 0, isGood: isTyped, note: told.replaceAll(/\s+/g, " ") }, freed];
    for (const index of trials.keys()) lab.log(describe(trials.slice(0, index + 1)));
    return trials;
  } finally {
    execFileSync("umount", ["-l", mount]);
    rmSync(mount, { recursive: true, force: true });
  }
}

/** Writes until there is no room. */
function fill(path: string): void {
  const block = Buffer.alloc(4096);
  try {
    for (let size = 1 << 20; size >= 4096; size >>= 1) {
      for (;;) {
        try {
          writeFileSync(path, Buffer.alloc(size), { flag: "a" });
        } catch {
          break;
        }
      }
    }
    writeFileSync(path, block, { flag: "a" });
  } catch {
    // It is full.
  }
}

function readCode(data: string | undefined): string | null {
  return /"code":"([A-Z_]+)"/.exec(data ?? "")?.[1] ?? /"type":"([a-z_]+)"/.exec(data ?? "")?.[1] ?? null;
}

async function damageStageFile(lab: Lab): Promise<readonly Trial[]> {
  await using bed = await Bed.start({ model: lab.model });
  const wanted = makeWanted(60);
  const reference = await runUndisturbed(bed, wanted);
  const trials: Trial[] = [];
  const filesOf = (worker: number): readonly string[] => {
    const folder = join(bed.dataDirOf(worker), "stages");
    return readdirSync(folder)
      .filter((name) => name.endsWith(".gguf"))
      .map((name) => join(folder, name));
  };
  const damages: readonly { readonly what: string; readonly act: (path: string, other: string) => void }[] = [
    { what: "one byte turned", act: (path) => turnByte(path, 0.7) },
    { what: "half of it", act: (path) => truncateSync(path, Math.floor(readFileSync(path).length / 2)) },
    { what: "the file of another stage", act: (path, other) => copyFileSync(other, path) },
  ];
  for (const { what, act } of damages) {
    const victim = bed.holderOf(1);
    const other = must(filesOf(bed.holderOf(0))[0], "file of another stage");
    await bed.worker(victim).kill();
    for (const path of filesOf(victim)) act(path, other);
    const startMs = performance.now();
    await bed.revive();
    await bed.untilWhole();
    const wholeMs = performance.now() - startMs;
    const found = bed.worker(victim).said.includes("STAGE_CORRUPT");
    const trial = await strike(bed, { what, wanted, reference, when: { tokens: 1 }, fault: () => undefined });
    const complaint = found ? null : "the worker does not say STAGE_CORRUPT";
    const isGood = trial.isGood && found;
    trials.push({
      ...trial,
      ...NOTHING,
      cause: "stage_corrupt",
      replanMs: wholeMs,
      isGood,
      note: complaint ?? trial.note,
    });
    lab.log(describe(trials));
  }
  return trials;
}

async function damageState(lab: Lab): Promise<readonly Trial[]> {
  await using served = await Served.start({ model: lab.model, args: ARGS });
  const talks = makeTalks(40).slice(0, 3);
  const alone = await Promise.all(talks.map((each) => talk(served, each)));
  const database = (suffix = ""): string => {
    const paths = readdirSync(served.dataDir, { recursive: true, encoding: "utf8" })
      .filter((path) => /(^|[/])state-\d+\.db$/.test(path))
      .sort((one, other) => one.length - other.length || one.localeCompare(other));
    return join(served.dataDir, `${must(paths.at(-1), "state")}${suffix}`);
  };
  const damages: readonly { readonly what: string; readonly isSilent?: boolean; readonly act: () => void }[] = [
    {
      // While the log is there, its copy of the first page counts.
      what: "header, and the log gone",
      act: () => {
        overwrite(database(), 0, 64);
        rmSync(database("-wal"), { force: true });
      },
    },
    { what: "pages in the middle", act: () => overwrite(database(), 0.3, 0.6) },
    { what: "half of the file", act: () => truncateSync(database(), Math.floor(readFileSync(database()).length / 2)) },
    { what: "all zeros", act: () => writeFileSync(database(), Buffer.alloc(readFileSync(database()).length)) },
    // SQLite takes the log up to the first frame that is damaged, as behind a loss of power.
    { what: "write-ahead log", isSilent: true, act: () => turnByte(database("-wal"), 0.5) },
  ];
  const trials: Trial[] = [];
  for (const { what, act, isSilent = false } of damages) {
    const running = talks.map((each) => talk(served, each));
    await new Promise((resolve) => setTimeout(resolve, 400));
    await served.killCoordinator();
    await Promise.all(running);
    const saidBefore = served.said.length;
    act();
    const startMs = performance.now();
    served.startCoordinator();
    await served.untilReady();
    const readyMs = performance.now() - startMs;
    const heard = await Promise.all(talks.map((each) => talk(served, each)));
    const said = /damaged|set aside/i.test(served.said.slice(saidBefore)) || isSilent;
    const complaint = said ? null : "nothing is said of it";
    trials.push(judgeTalks(what, talks, heard, alone, { ...NOTHING, replanMs: readyMs }, [complaint]));
    lab.log(describe(trials));
  }
  return trials;
}

function turnByte(path: string, share: number): void {
  const bytes = readFileSync(path);
  const at = Math.floor(share * bytes.length);
  bytes[at] = must(bytes[at], "byte") ^ 0x10;
  writeFileSync(path, bytes);
}

/** Shares of the file below 1, bytes from there on. */
function overwrite(path: string, from: number, to: number): void {
  const bytes = readFileSync(path);
  const place = (at: number): number => (at < 1 ? Math.floor(at * bytes.length) : at);
  bytes.fill(0xa5, place(from), place(to));
  writeFileSync(path, bytes);
}
