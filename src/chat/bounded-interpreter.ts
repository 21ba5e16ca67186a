import {
  Interpreter,
  type JinjaEnvironment as Environment,
  type JinjaNode as Node,
  type JinjaValue as Value,
} from "./jinja.ts";
import { TEMPLATE_LIMITS } from "./template-limits.ts";

type Call = (args: Value[], scope: Environment) => Value;

/** What a template went over. */
export class TemplateLimitError extends Error {}

/** A node that stands for a value that is there already. */
const CONSTANT = "Constant";
/** Values whose parts a result of this node was made of, one by one. */
const MAKES_LISTS = new Set([
  "ArrayLiteral",
  "TupleLiteral",
  "ObjectLiteral",
  "FilterExpression",
  "CallExpression",
  "BinaryExpression",
]);
/** Filters and methods that go through what lies within their operand. */
const READS_ALL = new Set(["tojson", "string", "join", "sort", "dictsort", "unique"]);
/** Longer than any that a template means. */
const MAX_INDENT = 64;

/**
 * The library's interpreter with a bound on all that it does. It gives every expression to `evaluate`, so that work and
 * depth can be counted there; before an operation whose result can be much larger than its operands, they are evaluated
 * and measured first.
 */
export class BoundedInterpreter extends Interpreter {
  #workLeft: number;
  #depth = 0;
  readonly #weights = new WeakMap<object, { readonly chars: number; readonly depth: number }>();

  /** @param work see `TEMPLATE_LIMITS.work` */
  constructor(environment: Environment, work: number) {
    super(environment);
    this.#workLeft = work;
  }

  /** @throws TemplateLimitError, and whatever the template makes the library throw */
  override evaluate(node: Node | undefined, environment: Environment): Value {
    if (node?.type === CONSTANT) return node["value"] as Value;
    this.#spend(1);
    this.#depth += 1;
    if (this.#depth > TEMPLATE_LIMITS.evaluationDepth)
      throw new TemplateLimitError(`expressions or macros are more than ${TEMPLATE_LIMITS.evaluationDepth} deep`);
    try {
      const value = node === undefined ? super.evaluate(node, environment) : this.#evaluateNode(node, environment);
      this.#measure(value, node?.type ?? "");
      return value;
    } finally {
      this.#depth -= 1;
    }
  }

  #evaluateNode(node: Node, environment: Environment): Value {
    switch (node.type) {
      case "FilterExpression":
        return this.#filter(node, this.#evaluatePart(node, "operand", environment), environment);
      case "FilterStatement": {
        const body = this.#evaluate({ type: "Program", body: node["body"] }, environment);
        return this.#filter({ type: "FilterExpression", filter: node["filter"] }, body, environment);
      }
      case "BinaryExpression":
        return this.#evaluateBinary(node, environment);
      case "CallExpression": {
        const args = this.#evaluateArguments(node["args"], environment);
        const callee = this.#evaluatePart(node, "callee", environment);
        return this.#evaluatePlain({ ...node, args, callee: constantOf(callee) }, environment);
      }
      case "MemberExpression":
        return this.#evaluateMember(node, environment);
      case "For":
        return this.#evaluateLoop(node, environment);
      case "Break":
      case "Continue":
        // Each is an exception with its trace.
        this.#spend(40);
        return this.#evaluatePlain(node, environment);
      default:
        return this.#evaluatePlain(node, environment);
    }
  }

  #evaluate(node: unknown, environment: Environment): Value {
    return this.evaluate(node as Node | undefined, environment);
  }

  #evaluatePart(node: Node, field: string, environment: Environment): Value {
    return this.#evaluate(node[field], environment);
  }

  /** The library's own way. */
  #evaluatePlain(node: Node, environment: Environment): Value {
    return super.evaluate(node, environment);
  }

  #evaluateBinary(node: Node, environment: Environment): Value {
    const operator = (node["operator"] as { value: string }).value;
    if (operator === "and" || operator === "or") return this.#evaluatePlain(node, environment);
    const left = this.#evaluatePart(node, "left", environment);
    const right = this.#evaluatePart(node, "right", environment);
    // A list that meets something else becomes a text.
    const becomesText = isContainer(left) !== isContainer(right);
    for (const side of [left, right]) this.#spend((becomesText ? this.#weigh(side) : this.#countParts(side)) >> 6);
    return this.#evaluatePlain({ ...node, left: constantOf(left), right: constantOf(right) }, environment);
  }

  #evaluateMember(node: Node, environment: Environment): Value {
    const object = this.#evaluatePart(node, "object", environment);
    if ((node["property"] as Node | undefined)?.type === "SliceExpression") this.#spend(this.#countParts(object) >> 3);
    const value = this.#evaluatePlain({ ...node, object: constantOf(object) }, environment);
    if (value.type !== "FunctionValue") return value;
    for (const [name, builtin] of object.builtins) {
      if (builtin === value) return this.#guard(value, name, object);
    }
    return value;
  }

  /** A method of a value, measured when it is called: it may be kept and called often. */
  #guard(method: Value, name: string, object: Value): Value {
    const make = method.constructor as new (call: Call) => Value;
    return new make((args, scope) => {
      this.#checkOperation(name, object, args);
      return (method.value as Call)(args, scope);
    });
  }

  #evaluateLoop(node: Node, environment: Environment): Value {
    const iterable = node["iterable"] as Node;
    const isFiltered = iterable.type === "SelectExpression";
    const list = this.#evaluate(isFiltered ? iterable["lhs"] : iterable, environment);
    this.#spend(4 * this.#countParts(list));
    const given = isFiltered ? { ...iterable, lhs: constantOf(list) } : constantOf(list);
    return this.#evaluatePlain({ ...node, iterable: given }, environment);
  }

  #filter(node: Node, operand: Value, environment: Environment): Value {
    let filter = node["filter"] as Node;
    let args: Value[] = [];
    if (filter.type === "CallExpression") {
      const given = this.#evaluateArguments(filter["args"], environment);
      args = given.map((arg) => (arg.type === "KeywordArgumentExpression" ? arg["value"] : arg) as Node).map(valueOf);
      filter = { ...filter, args: given };
    }
    const name = String(((filter.type === "CallExpression" ? filter["callee"] : filter) as Node)["value"]);
    this.#checkOperation(name, operand, args);
    return this.#evaluatePlain({ ...node, operand: constantOf(operand), filter }, environment);
  }

  #evaluateArguments(args: unknown, environment: Environment): Node[] {
    return (args as readonly Node[]).map((arg) => {
      // Some filters want to see the literal itself.
      if (arg.type === "StringLiteral") return arg;
      const field = arg.type === "KeywordArgumentExpression" ? "value" : arg.type.includes("Spread") ? "argument" : "";
      if (field === "") return constantOf(this.#evaluate(arg, environment));
      return { ...arg, [field]: constantOf(this.#evaluate(arg[field], environment)) };
    });
  }

  /** Refuses what would make too much of its operands before it is made. */
  #checkOperation(name: string, operand: Value, args: readonly Value[]): void {
    const chars = this.#weigh(operand);
    this.#spend((READS_ALL.has(name) ? chars >> 6 : this.#countParts(operand) >> 4) + args.length);
    for (const arg of args) this.#spend(this.#weigh(arg) >> 6);
    const [first, second] = args.map((arg) => (arg.type === "StringValue" ? (arg.value as string) : ""));
    const indent = args.find((arg) => arg.type === "IntegerValue")?.value as number | undefined;
    if (name === "indent" || name === "tojson") {
      if (indent !== undefined && indent > MAX_INDENT) throw new TemplateLimitError(`an indent of ${indent}`);
      // Each value on a line of its own, indented by its depth.
      const lines = name === "indent" ? countIn(String(operand.value), "\n") + 1 : chars >> 4;
      checkChars(chars + lines * (indent ?? 4) * (name === "indent" ? 1 : TEMPLATE_LIMITS.depth >> 4));
    } else if (name === "join") {
      checkChars(chars + this.#countParts(operand) * Math.max(first?.length ?? 0, second?.length ?? 0));
    } else if (name === "replace" && operand.type === "StringValue") {
      checkChars(chars + (countIn(operand.value as string, first ?? "") + 1) * (second?.length ?? 0));
    } else if (name === "split" && operand.type === "StringValue") {
      const text = operand.value as string;
      const pieces =
        first === undefined || first === ""
          ? text.split(/\s+/, TEMPLATE_LIMITS.listItems + 2).length
          : countIn(text, first) + 1;
      if (pieces > TEMPLATE_LIMITS.listItems)
        throw new TemplateLimitError(`a text in more than ${TEMPLATE_LIMITS.listItems} pieces`);
      this.#spend(pieces);
    } else if (name === "sort" || name === "dictsort" || name === "unique") {
      this.#spend(16 * this.#countParts(operand) + (chars >> 2));
    }
  }

  #measure(value: Value, type: string): void {
    if (value.type === "StringValue") {
      const { length } = value.value as string;
      checkChars(length);
      this.#spend(length >> 6);
    } // An unknown name is looked up by an exception, too.
    else if (value.type === "UndefinedValue") this.#spend(20);
    else if (isContainer(value)) {
      this.#weigh(value);
      if (MAKES_LISTS.has(type)) this.#spend(this.#countParts(value) >> 2);
    }
  }

  #countParts(value: Value): number {
    if (value.type === "StringValue") return (value.value as string).length;
    if (!isContainer(value)) return 0;
    const parts = value.value as readonly Value[] | ReadonlyMap<string, Value>;
    return "size" in parts ? parts.size : parts.length;
  }

  /** Characters of the value were it written out: a list that holds a list twice is written twice. */
  #weigh(value: Value): number {
    return this.#weighTree(value, 0).chars;
  }

  #weighTree(
    value: Value,
    above: number,
  ): { readonly chars: number; readonly depth: number; readonly isFixed: boolean } {
    if (value.type === "StringValue") return { chars: (value.value as string).length, depth: 0, isFixed: true };
    if (!isContainer(value)) return { chars: 8, depth: 0, isFixed: true };
    const known = this.#weights.get(value);
    if (known !== undefined) return { ...known, isFixed: true };
    this.#spend(1);
    let chars = 2;
    let depth = 0;
    // A namespace can be changed, and can hold itself.
    let isFixed = value.type !== "NamespaceValue";
    if (above > TEMPLATE_LIMITS.depth)
      throw new TemplateLimitError(`values are more than ${TEMPLATE_LIMITS.depth} deep`);
    const parts = value.value as readonly Value[] | ReadonlyMap<string, Value>;
    if (this.#countParts(value) > TEMPLATE_LIMITS.listItems)
      throw new TemplateLimitError(`a list has more than ${TEMPLATE_LIMITS.listItems} items`);
    for (const [key, part] of parts.entries()) {
      const inner = this.#weighTree(part, above + 1);
      chars += 4 + (typeof key === "string" ? key.length : 0) + inner.chars;
      depth = Math.max(depth, inner.depth + 1);
      isFixed &&= inner.isFixed;
    }
    if (depth > TEMPLATE_LIMITS.depth)
      throw new TemplateLimitError(`values are more than ${TEMPLATE_LIMITS.depth} deep`);
    checkChars(chars);
    if (isFixed) this.#weights.set(value, { chars, depth });
    return { chars, depth, isFixed };
  }

  #spend(work: number): void {
    this.#workLeft -= work;
    if (this.#workLeft < 0) throw new TemplateLimitError("it takes more work than any sound template");
  }
}

function constantOf(value: Value): Node {
  return { type: CONSTANT, value };
}

/** Of a constant or a literal. */
function valueOf(node: Node): Value {
  return (node.type === CONSTANT ? node["value"] : { type: "StringValue", value: String(node["value"]) }) as Value;
}

function isContainer(value: Value): boolean {
  return typeof value.value === "object" && value.value !== null;
}

function checkChars(chars: number): void {
  if (chars > TEMPLATE_LIMITS.textChars)
    throw new TemplateLimitError(`a text of more than ${TEMPLATE_LIMITS.textChars} characters`);
}

function countIn(text: string, part: string): number {
  if (part === "") return text.length;
  let count = 0;
  for (let at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + part.length)) count += 1;
  return count;
}
