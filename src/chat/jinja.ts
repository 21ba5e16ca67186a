import * as library from "@huggingface/jinja";

// The library's own declarations name their files without endings, which Node's resolution does not follow. These are
// the parts that are used here.

/** A value within a template. */
export interface JinjaValue {
  readonly type: string;
  readonly value: unknown;
  /** Methods and properties by name. */
  readonly builtins: ReadonlyMap<string, JinjaValue>;
}

export interface JinjaEnvironment {
  set(name: string, value: unknown): JinjaValue;
}

/** A part of the syntax tree. */
export interface JinjaNode {
  readonly type: string;
  readonly [field: string]: unknown;
}

interface JinjaInterpreter {
  run(program: JinjaNode): JinjaValue;
  evaluate(node: JinjaNode | undefined, environment: JinjaEnvironment): JinjaValue;
}

interface JinjaLibrary {
  readonly Environment: new () => JinjaEnvironment;
  readonly Interpreter: new (environment: JinjaEnvironment) => JinjaInterpreter;
  readonly parse: (tokens: readonly JinjaToken[]) => JinjaNode;
  readonly tokenize: (
    source: string,
    options: { readonly lstrip_blocks: boolean; readonly trim_blocks: boolean },
  ) => readonly JinjaToken[];
}

interface JinjaToken {
  readonly type: string;
  readonly value: string;
}

export const { Environment, Interpreter, parse, tokenize }: JinjaLibrary = library as unknown as JinjaLibrary;
