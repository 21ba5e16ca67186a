import type { z } from "zod";
import { NoodleError } from "../common/index.ts";
import { PROBLEM_LIMITS, type Problem, problemSchema } from "./document.ts";

/**
 * Reads the JSON text of a `noodle.problem.v1`.
 *
 * @throws PROBLEM_INVALID naming the path, the value, the limit and what to do; PROBLEM_TOO_LARGE for text beyond the
 *   limits of size or depth
 */
export function parseProblem(text: string): Problem {
  const sizeBytes = Buffer.byteLength(text);
  if (sizeBytes > PROBLEM_LIMITS.textBytes) {
    throw new NoodleError(
      "PROBLEM_TOO_LARGE",
      `the problem has ${sizeBytes} bytes; the limit is ${PROBLEM_LIMITS.textBytes}`,
      { details: { bytes: sizeBytes, limit: PROBLEM_LIMITS.textBytes } },
    );
  }
  checkDepth(text);
  // A key of this name is dropped on the way into an object, so no schema would see it.
  if (text.includes('"__proto__"')) throw invalid("", '"__proto__"', "is no key of noodle.problem.v1; remove it");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (thrown) {
    throw new NoodleError("PROBLEM_INVALID", `the problem is not JSON: ${words(thrown)}`, { cause: thrown });
  }
  return readProblem(value);
}

/** Checks a value that claims to be a `noodle.problem.v1`. @throws PROBLEM_INVALID */
export function readProblem(value: unknown): Problem {
  const read = problemSchema.safeParse(value, { reportInput: true });
  if (!read.success) throw fromIssue(read.error.issues[0]);
  checkWhole(read.data);
  return read.data;
}

/** What no single field shows: lengths, names that must be unique or known. */
function checkWhole(problem: Problem): void {
  const { units } = problem;
  checkLength("unit_bytes", problem.unit_bytes, units);
  checkLength("kv_bytes_per_token", problem.kv_bytes_per_token, units);
  checkTies(problem);
  const ids = new Map<string, number>();
  for (const [index, node] of problem.nodes.entries()) {
    const path = `nodes[${index}]`;
    const twin = ids.get(node.id);
    if (twin !== undefined) throw invalid(`${path}.id`, node.id, `is also the id of nodes[${twin}]; ids must differ`);
    ids.set(node.id, index);
    if ((node.unit_ms === undefined) === (node.stage_ms_by_count === undefined)) {
      throw invalid(path, node.id, "needs unit_ms or stage_ms_by_count, and only one of them");
    }
    checkLength(`${path}.unit_ms`, node.unit_ms, units);
    for (const count of Object.keys(node.stage_ms_by_count ?? {})) {
      if (Number(count) > units) {
        throw invalid(`${path}.stage_ms_by_count`, count, `counts more units than the ${units} of the problem`);
      }
    }
  }
  const seen = new Set<string>();
  for (const [index, pair] of (problem.links?.pairs ?? []).entries()) {
    const path = `links.pairs[${index}]`;
    for (const end of ["from", "to"] as const) {
      if (!ids.has(pair[end])) throw invalid(`${path}.${end}`, pair[end], "is not the id of a node");
    }
    if (pair.from === pair.to) throw invalid(path, pair.from, "goes from a node to itself; leave it out");
    const key = `${ids.get(pair.from)}>${ids.get(pair.to)}`;
    if (seen.has(key))
      throw invalid(path, `${pair.from} -> ${pair.to}`, "is given twice; pairs are directed, one each");
    seen.add(key);
  }
}

function checkTies(problem: Problem): void {
  const seen = new Set<number>();
  for (const [index, group] of (problem.tied_units ?? []).entries()) {
    for (const unit of group) {
      const path = `tied_units[${index}]`;
      if (unit >= problem.units) throw invalid(path, unit, `is beyond the last unit, ${problem.units - 1}`);
      if (seen.has(unit)) throw invalid(path, unit, "is tied twice; write units that share weights as one group");
      seen.add(unit);
    }
  }
}

function checkLength(path: string, values: readonly number[] | undefined, units: number): void {
  if (values === undefined || values.length === units) return;
  throw invalid(path, values.length, `items; it needs one for each of the ${units} units`);
}

/** Counts brackets outside strings before anything is built from them. */
function checkDepth(text: string): void {
  let depth = 0;
  let inString = false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (inString) {
      if (code === 0x5c) i += 1;
      else if (code === 0x22) inString = false;
    } else if (code === 0x22) inString = true;
    else if (code === 0x5b || code === 0x7b) {
      depth += 1;
      if (depth > PROBLEM_LIMITS.depth) {
        throw new NoodleError(
          "PROBLEM_TOO_LARGE",
          `brackets inside brackets beyond ${PROBLEM_LIMITS.depth} at character ${i}`,
          { details: { depth, limit: PROBLEM_LIMITS.depth } },
        );
      }
    } else if (code === 0x5d || code === 0x7d) depth -= 1;
  }
}

function fromIssue(issue: z.core.$ZodIssue | undefined): NoodleError {
  if (issue === undefined) return new NoodleError("PROBLEM_INVALID", "the problem is not valid");
  const path = issue.path.reduce<string>((text, part) => joinPath(text, part), "");
  if (issue.code === "unrecognized_keys") {
    const names = issue.keys.slice(0, 4).map((key) => show(key));
    return invalid(path, names.join(", "), "is no key of noodle.problem.v1; remove it or correct its spelling");
  }
  const input = "input" in issue ? issue.input : undefined;
  if (issue.code === "invalid_key") return invalid(path, input, "is no key here; counts are whole numbers from 1 on");
  return invalid(path, input, input === undefined ? "is needed here" : `is not allowed (${issue.message})`);
}

function invalid(path: string, value: unknown, words: string): NoodleError {
  const where = path === "" ? "the problem" : path;
  return new NoodleError("PROBLEM_INVALID", `${where}: ${show(value)} ${words}`, {
    details: { path, value: show(value) },
  });
}

function joinPath(text: string, part: PropertyKey): string {
  if (typeof part === "number") return `${text}[${part}]`;
  const name = show(String(part));
  return text === "" ? name : `${text}.${name}`;
}

/** A hostile value must not make a hostile message: short, and never walked into. */
function show(value: unknown): string {
  if (value === undefined) return "a missing value";
  if (value === null) return "null";
  if (typeof value === "string") return JSON.stringify(value.slice(0, 64)).slice(1, -1);
  if (typeof value === "object" && value !== null)
    return Array.isArray(value) ? `a list of ${value.length}` : "an object";
  return typeof value === "number" || typeof value === "boolean" ? String(value) : typeof value;
}

function words(thrown: unknown): string {
  return show(thrown instanceof Error ? thrown.message : String(thrown));
}
