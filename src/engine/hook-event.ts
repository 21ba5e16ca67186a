import { NoodleError } from "../common/index.ts";
import { ggmlTypeById } from "../gguf/index.ts";
import type { HookEvent, HookKind, Phase, SegmentTiming } from "../observe/index.ts";
import type { PointHook } from "./learned-graph.ts";
import { decodeFunction, type Library, readTensor, type TensorFields } from "./native/index.ts";

/** What an event says of the moment, apart from the tensor. */
export interface HookMoment {
  readonly kind: HookKind;
  readonly unit: number;
  readonly role: SegmentTiming["role"];
  readonly phase: Phase;
  readonly rows: number;
  readonly contextTokens: number;
  readonly startNs: number;
  readonly durationNs: number;
}

/** A tensor that hooks may look at. */
export interface HookTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: string;
  readonly bytes: number;
  readonly device: string;
  /** A copy. */
  readBytes(): Uint8Array;
  /** A copy. */
  readFloats(): Float32Array;
}

/** Calls the hooks one after the other. What they throw is the caller's to keep. */
export function callHooks(hooks: readonly PointHook[], moment: HookMoment, tensor: HookTensor): void {
  const { name, shape, dtype, bytes, device } = tensor;
  for (const { point, hook } of hooks) {
    let readable = moment.kind === "post";
    const check = (): void => {
      if (readable) return;
      const why = moment.kind === "pre" ? "not computed before its post hook" : "gone when its hook has returned";
      throw new NoodleError("ILLEGAL_STATE", `the tensor of ${point} is ${why}`);
    };
    const event: HookEvent = {
      ...moment,
      point,
      name,
      shape,
      dtype,
      bytes,
      device,
      read: () => (check(), tensor.readFloats()),
      readBytes: () => (check(), tensor.readBytes()),
    };
    try {
      hook(event);
    } finally {
      readable = false;
    }
  }
}

/** A node of the running graph. */
export function wrapNode(library: Library, address: number): HookTensor {
  const fields = readTensor(address);
  const type = ggmlTypeById(fields.type);
  const elements = fields.ne.reduce((product, count) => product * count, 1);
  const bytes = (elements / type.blockElements) * type.blockBytes;
  const readBytes = (): Uint8Array => {
    if (!isContiguous(fields, type))
      throw new NoodleError("ENGINE_FAILED", `the tensor ${fields.name} does not lie in one piece`);
    const out = new Uint8Array(bytes);
    if (bytes > 0) library.calls.ggml_backend_tensor_get(address, out, 0, bytes);
    return out;
  };
  return {
    name: fields.name,
    shape: trimShape(fields.ne),
    dtype: type.name,
    bytes,
    device: readDevice(library, fields),
    readBytes,
    readFloats(): Float32Array {
      const raw = readBytes();
      const decode = decodeFunction(library.calls.ggml_get_type_traits(type.id));
      if (decode === undefined) return new Float32Array(raw.buffer);
      const out = new Float32Array(elements);
      decode(raw, out, elements);
      return out;
    },
  };
}

/** f32[rows, width] of this process, as the stage got or made it. */
export function wrapRows(name: string, values: Float32Array, width: number): HookTensor {
  return {
    name,
    shape: [width, values.length / width],
    dtype: "f32",
    bytes: values.byteLength,
    device: "cpu",
    readBytes: () => new Uint8Array(values.slice().buffer),
    readFloats: () => values.slice(),
  };
}

function trimShape(ne: readonly number[]): readonly number[] {
  return ne.slice(0, ne.findLastIndex((count) => count !== 1) + 1);
}

function isContiguous({ ne, nb }: TensorFields, type: { blockElements: number; blockBytes: number }): boolean {
  let stride = type.blockBytes;
  return ne.every((count, i) => {
    const fits = count === 1 || nb[i] === stride;
    stride *= i === 0 ? count / type.blockElements : count;
    return fits;
  });
}

function readDevice(library: Library, fields: TensorFields): string {
  const buffer = fields.buffer === 0 && fields.viewSrc !== 0 ? readTensor(fields.viewSrc).buffer : fields.buffer;
  return buffer === 0 ? "cpu" : library.calls.ggml_backend_buffer_name(buffer).toLowerCase();
}
