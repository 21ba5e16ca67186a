import { ggmlTypeById } from "../gguf/index.ts";
import type { GraphNode } from "../observe/index.ts";
import { type Library, readName, readTensor } from "./native/index.ts";

/** Operations that compute nothing. */
const EMPTY_OPS: ReadonlySet<string> = new Set(["NONE", "RESHAPE", "VIEW", "PERMUTE", "TRANSPOSE"]);

/** Reads the nodes of a computation graph as the engine comes by them. */
export class GraphReader {
  readonly #library: Library;
  readonly #ordinals = new Map<number, number>();
  #nodes: GraphNode[] = [];

  constructor(library: Library) {
    this.#library = library;
  }

  /** @param address of the tensor that comes next */
  add(address: number): void {
    const fields = readTensor(address);
    const op = this.#library.calls.ggml_op_name(fields.op);
    const ordinal = this.#nodes.length;
    this.#ordinals.set(address, ordinal);
    this.#nodes.push({
      ordinal,
      name: fields.name,
      op,
      type: ggmlTypeById(fields.type).name,
      shape: fields.ne,
      sources: fields.sources.map((source) => ({ ordinal: this.#ordinals.get(source) ?? -1, name: readName(source) })),
      isView: EMPTY_OPS.has(op) || !fields.isComputed,
    });
  }

  /** What was read; the next graph begins. */
  take(): readonly GraphNode[] {
    const nodes = this.#nodes;
    this.#nodes = [];
    this.#ordinals.clear();
    return nodes;
  }
}
