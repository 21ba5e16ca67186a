import koffi from "koffi";
import { TENSOR } from "./layout.ts";

/** `GGML_TENSOR_FLAG_COMPUTE`: a node without it is in the graph but is passed over. */
const FLAG_COMPUTE = 16;

/** What a `ggml_tensor` says of itself, copied. */
export interface TensorFields {
  readonly name: string;
  /** `ggml_type`. */
  readonly type: number;
  /** Elements in each of the four dimensions, the innermost first. */
  readonly ne: readonly number[];
  /** Bytes from one element, row, ... to the next. */
  readonly nb: readonly number[];
  /** `ggml_op`. */
  readonly op: number;
  /** The engine computes it. */
  readonly isComputed: boolean;
  /** Address of its buffer; 0 = none of its own, as for a view. */
  readonly buffer: number;
  /** Addresses of the tensors that it is made of. */
  readonly sources: readonly number[];
  /** Address of the tensor that it is a view of; 0 = none. */
  readonly viewSrc: number;
  readonly viewOffs: number;
}

export function readTensor(address: number): TensorFields {
  const bytes = new Uint8Array(koffi.view(address, TENSOR.bytes));
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const u64 = (offset: number): number => Number(view.getBigUint64(offset, true));
  const sources: number[] = [];
  for (let i = 0; i < TENSOR.sources; i++) {
    const source = u64(TENSOR.src + 8 * i);
    if (source !== 0) sources.push(source);
  }
  const name = bytes.subarray(TENSOR.name, TENSOR.name + TENSOR.nameBytes);
  const end = name.indexOf(0);
  return {
    name: Buffer.from(end < 0 ? name : name.subarray(0, end)).toString("latin1"),
    type: view.getInt32(TENSOR.type, true),
    ne: [0, 8, 16, 24].map((at) => u64(TENSOR.ne + at)),
    nb: [0, 8, 16, 24].map((at) => u64(TENSOR.nb + at)),
    op: view.getInt32(TENSOR.op, true),
    isComputed: (view.getInt32(TENSOR.flags, true) & FLAG_COMPUTE) !== 0,
    buffer: u64(TENSOR.buffer),
    sources,
    viewSrc: u64(TENSOR.viewSrc),
    viewOffs: u64(TENSOR.viewOffs),
  };
}
