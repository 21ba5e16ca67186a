import { NoodleError } from "../common/index.ts";
import { BoundedInterpreter, TemplateLimitError } from "./bounded-interpreter.ts";
import { formatTime } from "./format-time.ts";
import { Environment, type JinjaNode, parse, tokenize } from "./jinja.ts";
import { TEMPLATE_LIMITS } from "./template-limits.ts";

/** What the template's own words end, when they go on for ever. */
const MAX_MESSAGE_CHARS = 500;
const MAX_RANGE = 10_000;

/** A template that has been read. Every call is bounded in time and memory, whatever the template says. */
export class TemplateProgram {
  readonly source: string;
  /** Texts that stand in quotes in the template: what it looks for in messages is among them. */
  readonly literals: ReadonlySet<string>;
  /** Names of variables and members that it mentions. */
  readonly names: ReadonlySet<string>;
  readonly #program: JinjaNode;

  /** @throws NoodleError TEMPLATE_FAILED */
  constructor(source: string) {
    if (source.length > TEMPLATE_LIMITS.sourceChars)
      fail(`it has ${source.length} characters, the limit is ${TEMPLATE_LIMITS.sourceChars}`);
    if (findLongestSpace(source) > TEMPLATE_LIMITS.spaceRun)
      fail(`more than ${TEMPLATE_LIMITS.spaceRun} spaces or new lines follow one another`);
    this.source = source;
    try {
      // As in the tools that models are made with.
      const tokens = tokenize(source, { lstrip_blocks: true, trim_blocks: true });
      this.literals = new Set(tokens.flatMap(({ type, value }) => (type === "StringLiteral" ? [value] : [])));
      this.names = new Set(tokens.flatMap(({ type, value }) => (type === "Identifier" ? [value] : [])));
      this.#program = parse(tokens);
    } catch (error) {
      fail(describe(error), error);
    }
  }

  /**
   * @param variables JSON values; names that every template has are not among them
   * @throws NoodleError TEMPLATE_FAILED with the template's own words, or the limit
   */
  run(variables: Readonly<Record<string, unknown>>, nowMs: number): string {
    try {
      return this.#run(variables, nowMs, TEMPLATE_LIMITS.work);
    } catch (error) {
      return fail(describe(error), error);
    }
  }

  /**
   * Tries a small conversation.
   *
   * @returns undefined when the template refuses it
   * @throws NoodleError TEMPLATE_FAILED when it goes over a limit
   */
  tryOut(variables: Readonly<Record<string, unknown>>): string | undefined {
    try {
      return this.#run(variables, 0, TEMPLATE_LIMITS.tryWork);
    } catch (error) {
      if (error instanceof TemplateLimitError || error instanceof RangeError) fail(describe(error), error);
      return undefined;
    }
  }

  #run(variables: Readonly<Record<string, unknown>>, nowMs: number, baseWork: number): string {
    const environment = new Environment();
    const size = { values: 0, chars: 0 };
    for (const value of Object.values(variables)) measure(value, size, 0);
    const work = baseWork + TEMPLATE_LIMITS.workPerValue * size.values + size.chars;
    const globals = { ...makeGlobals(nowMs), ...variables };
    for (const [name, value] of Object.entries(globals)) environment.set(name, value);
    return String(new BoundedInterpreter(environment, work).run(this.#program).value);
  }
}

function makeGlobals(nowMs: number): Record<string, unknown> {
  return {
    true: true,
    false: false,
    none: null,
    True: true,
    False: false,
    None: null,
    raise_exception: (message: unknown) => {
      throw new Error(String(message));
    },
    range: listRange,
    strftime_now: (format: unknown) => formatTime(nowMs, String(format)),
  };
}

/** Names that a template has anyway. */
export const TEMPLATE_GLOBALS: ReadonlySet<string> = new Set([...Object.keys(makeGlobals(0)), "namespace", "loop"]);

function listRange(first: unknown, second?: unknown, third?: unknown): number[] {
  const numbers = [first, second, third].filter((value) => value !== undefined);
  if (!numbers.every((value): value is number => typeof value === "number" && Number.isInteger(value)))
    throw new Error("range() wants whole numbers");
  const [start = 0, end = 0, step = 1] = numbers.length === 1 ? [0, ...numbers] : numbers;
  if (step === 0) throw new Error("range() step must not be zero");
  const length = Math.max(0, Math.ceil((end - start) / step));
  if (length > MAX_RANGE) throw new TemplateLimitError(`range() of ${length}, the limit is ${MAX_RANGE}`);
  return Array.from({ length }, (_, i) => start + i * step);
}

function measure(value: unknown, size: { values: number; chars: number }, depth: number): void {
  if (depth > TEMPLATE_LIMITS.depth)
    throw new TemplateLimitError(`its input is more than ${TEMPLATE_LIMITS.depth} deep`);
  size.values += 1;
  if (typeof value === "string") size.chars += value.length;
  else if (typeof value === "object" && value !== null) {
    for (const [key, part] of Object.entries(value)) {
      size.chars += key.length;
      measure(part, size, depth + 1);
    }
  }
  if (size.chars > TEMPLATE_LIMITS.textChars)
    throw new TemplateLimitError(`its input has more than ${TEMPLATE_LIMITS.textChars} characters`);
}

function findLongestSpace(text: string): number {
  let longest = 0;
  let start = -1;
  for (let at = 0; at <= text.length; at++) {
    if (at < text.length && /\s/.test(text.charAt(at))) continue;
    longest = Math.max(longest, at - start - 1);
    start = at;
  }
  return longest;
}

function describe(error: unknown): string {
  if (error instanceof RangeError) return "it nests too deeply, or makes a text that is too long";
  return error instanceof Error ? error.message.slice(0, MAX_MESSAGE_CHARS) : "it failed";
}

function fail(what: string, cause?: unknown): never {
  throw new NoodleError("TEMPLATE_FAILED", `the model's chat template: ${what}`, { cause });
}
