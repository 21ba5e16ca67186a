import { existsSync } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Command } from "commander";
import { NoodleError } from "../../common/index.ts";
import {
  compareFigures,
  compareProfiles,
  type ComparedFigure,
  type ComparedPart,
  MAX_PROFILE_BYTES,
  type ProfileDocument,
  readProfile,
  readRunFigures,
  type RunFigures,
} from "../../profile/index.ts";
import { type CommandContext, defineCommand, openContext } from "../command.ts";
import type { CliHost } from "../host.ts";
import type { Output } from "../output.ts";
import { formatMs } from "../quantities.ts";
import { renderTable } from "../table.ts";

interface CompareOptions {
  readonly json?: boolean;
  readonly all?: boolean;
}

/** What was found behind one of the two paths; at least one of them is there. */
interface Side {
  readonly profile: ProfileDocument | null;
  readonly run: RunFigures | null;
}

/** Lines of a table that a terminal bears. */
const MAX_LINES = 40;

export function addCompare(program: Command, host: CliHost): void {
  defineCommand(program, {
    usage: "compare <a> <b>",
    summary: "put two profiles or runs side by side: what changed, by how much, and whether it is more than noise",
    examples: [
      "noodle compare before/profile.json after/profile.json",
      "noodle compare noodle-run-20261123-114501 noodle-run-20261123-120312",
    ],
  })
    .option("--all", "every line, also what did not change")
    .action((a: string, b: string, options: CompareOptions) => compare(openContext(host, options), a, b, options));
}

async function compare({ out }: CommandContext, pathA: string, pathB: string, options: CompareOptions): Promise<void> {
  const [a, b] = [await readSide(pathA), await readSide(pathB)];
  const profiles = a.profile === null || b.profile === null ? null : compareProfiles(a.profile, b.profile);
  const runs = a.run === null || b.run === null ? null : compareFigures(a.run, b.run);
  if (profiles === null && runs === null) {
    throw new NoodleError(
      "USAGE",
      `${pathA} is a ${nameSide(a)}, ${pathB} a ${nameSide(b)}: they have nothing in common`,
    );
  }
  const differences = [...new Set([...(profiles?.differences ?? []), ...(runs?.differences ?? [])])];
  const changes = [...(profiles?.changes ?? []), ...(runs?.changes ?? [])];
  out.document({
    schema: "noodle.compare.v1",
    a: pathA,
    b: pathB,
    differences,
    changes,
    parts: profiles?.parts ?? [],
    figures: runs?.figures ?? [],
    only_in_a: profiles?.only_in_a ?? 0,
    only_in_b: profiles?.only_in_b ?? 0,
  });
  if (changes.length === 0) out.line("No change that matters: each is within the spread of the samples, or tiny.");
  for (const sentence of changes) out.line(sentence);
  for (const difference of differences) out.line(`Not the same: ${difference}.`);
  if (profiles !== null) printParts(out, profiles.parts, options.all === true);
  if (profiles !== null && profiles.only_in_a + profiles.only_in_b > 0) {
    out.line(`\nonly in a: ${profiles.only_in_a} lines, only in b: ${profiles.only_in_b}`);
  }
  if (runs !== null) printFigures(out, runs.figures, options.all === true);
}

function printParts(out: Output, parts: readonly ComparedPart[], all: boolean): void {
  const rows = parts.map((part) => ({
    matters: !part.within_spread || part.role === "total",
    cells: [
      part.unit_class,
      part.role,
      part.phase,
      String(part.rows),
      String(part.context),
      formatMs(part.a_ms),
      formatMs(part.b_ms),
      formatRatio(part.ratio),
      part.within_spread ? "no more than noise" : part.b_ms < part.a_ms ? "faster" : "slower",
    ],
  }));
  const right = { align: "right" } as const;
  const columns = [
    { title: "class" },
    { title: "role" },
    { title: "phase" },
    { title: "rows", ...right },
    { title: "context", ...right },
    { title: "a ms", ...right },
    { title: "b ms", ...right },
    { title: "b / a", ...right },
    { title: "" },
  ];
  printTable(out, columns, rows, all);
}

function printFigures(out: Output, figures: readonly ComparedFigure[], all: boolean): void {
  const rows = figures.map((figure) => ({
    matters: !figure.within_spread,
    cells: [
      figure.name,
      String(Number(figure.a.toPrecision(4))),
      String(Number(figure.b.toPrecision(4))),
      formatRatio(figure.ratio),
      figure.within_spread ? "no more than noise" : "",
    ],
  }));
  const right = { align: "right" } as const;
  const columns = [
    { title: "figure" },
    { title: "a", ...right },
    { title: "b", ...right },
    { title: "b / a", ...right },
    { title: "" },
  ];
  printTable(out, columns, rows, all);
}

/** What matters first to go in; nothing is dropped without a word. */
function printTable(
  out: Output,
  columns: Parameters<typeof renderTable>[0],
  rows: readonly { readonly matters: boolean; readonly cells: readonly string[] }[],
  all: boolean,
): void {
  if (rows.length === 0) return;
  const fits = all || rows.length <= MAX_LINES;
  const shown = fits ? rows : rows.filter((row) => row.matters).slice(0, MAX_LINES);
  out.line();
  out.data(
    renderTable(
      columns,
      shown.map((row) => row.cells),
    ),
  );
  if (shown.length < rows.length) out.line(`${rows.length - shown.length} more lines with --all`);
}

function formatRatio(ratio: number | null): string {
  return ratio === null ? "-" : ratio.toFixed(3);
}

function nameSide(side: Side): string {
  return side.profile === null ? "run" : side.run === null ? "profile" : "run with a profile";
}

/** A folder of a run, a profile, a run's document, or rows of a bench. */
async function readSide(path: string): Promise<Side> {
  const isFolder = await stat(path).then(
    (facts) => facts.isDirectory(),
    (error: unknown) => {
      throw new NoodleError("FILE_NOT_FOUND", `${path}: ${NoodleError.from(error).message}`, { cause: error });
    },
  );
  if (!isFolder) return readDocuments(await readText(path), path);
  const files = ["profile.json", "summary.json"].map((name) => join(path, name)).filter((file) => existsSync(file));
  if (files.length === 0) {
    throw new NoodleError("FILE_NOT_FOUND", `${path} holds neither profile.json nor summary.json`);
  }
  let side: Side = { profile: null, run: null };
  for (const file of files) {
    const { profile, run } = readDocuments(await readText(file), file);
    side = { profile: side.profile ?? profile, run: side.run ?? run };
  }
  return side;
}

async function readText(path: string): Promise<string> {
  const { size } = await stat(path);
  if (size > MAX_PROFILE_BYTES) {
    throw new NoodleError("PROFILE_INVALID", `${path} has ${size} bytes, the limit is ${MAX_PROFILE_BYTES}`);
  }
  return readFile(path, "utf8");
}

function readDocuments(text: string, path: string): Side {
  const documents = parseDocuments(text, path);
  const [first] = documents;
  const schema = typeof first === "object" && first !== null && "schema" in first ? first.schema : null;
  if (typeof schema !== "string" || !schema.startsWith("noodle.")) {
    throw new NoodleError("PROFILE_INVALID", `${path} names no schema of NoodleCore`);
  }
  if (schema.startsWith("noodle.profile.")) return { profile: readProfile(first), run: null };
  const run = readRunFigures(documents);
  if (run.figures.size === 0) {
    throw new NoodleError("PROFILE_INVALID", `${path} (${schema}) holds no figure of time or speed`);
  }
  return { profile: null, run };
}

/** One document, or one in each line. */
function parseDocuments(text: string, path: string): unknown[] {
  try {
    return [JSON.parse(text)];
  } catch (whole) {
    try {
      return text
        .split("\n")
        .filter((line) => line.trim() !== "")
        .map((line): unknown => JSON.parse(line));
    } catch {
      throw new NoodleError("PROFILE_INVALID", `${path} is no JSON: ${NoodleError.from(whole).message}`, {
        cause: whole,
      });
    }
  }
}
