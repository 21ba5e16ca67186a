import { groupOf, type Phase, type Role, type RoleGroup } from "../observe/index.ts";
import type { AttentionWork, TensorWork, UnitWork } from "./model-work.ts";

const F32_BYTES = 4;
/** Square, sum, scale, multiply. */
const NORM_FLOPS = 4;
/** A rotation of a pair is four products and two sums. */
const ROPE_FLOPS = 3;
/** The function, taken as four operations, and the product with the gate. */
const ACTIVATION_FLOPS = 5;

export type RowRole = "total" | RoleGroup | Role;

/** What is computed: see `RawCell`. */
export interface WorkCell {
  readonly phase: Phase;
  readonly rows: number;
  readonly context: number;
  readonly outputRows: number;
}

export interface Work {
  readonly weightsBytes: number;
  readonly flops: number;
  readonly bytesMoved: number;
  readonly kvBytesMoved: number;
  readonly weightBytesMoved: number;
  readonly activationBytesIn: number;
  readonly activationBytesOut: number;
  readonly peakBytes: number;
  readonly tensors: readonly TensorWork[];
}

/**
 * Counts what one role of a unit has to compute and move in one step, at least. With R rows (behind the point where the
 * last block drops rows, and in the head: the output rows), C positions of context, S sequences (decode: R, prefill: 1):
 *
 * - matrix [m, n]: `2 m n R` flops, its bytes once;
 * - experts [m, n, E], k used by a row: `2 m n k R` flops, the bytes of the experts that R rows meet, which is
 *   `E (1 - (1 - k/E)^R)` of E when every row chooses k of them independently and evenly;
 * - table of embeddings: the R rows that are looked up, one flop an element;
 * - norm of width d: `4 d R` flops; rotary positions: 3 flops an element of queries and keys; other vectors: one;
 * - activation of the MLP: 5 flops an element; residuals: one;
 * - scores: `2 heads (keySize + valueSize)` flops for each pair of a row and a position that it sees: C + 1 for a decode
 *   row, `C + (R + 1) / 2` on average in prefill, never more than the window; keys and values of the positions that are
 *   seen are read once, those of R rows written once, in F16;
 * - activations: f32 rows in and out of the role, not what stays inside it. A unit counts its own in and out only, so
 *   the roles' bytes add up to a little more than the unit's.
 *
 * `peakBytes` is weights, keys and values of S sequences after the step, and the widest pair of in and out.
 */
export function countWork(unit: UnitWork, role: RowRole, cell: WorkCell): Work {
  const pieces = listPieces(unit, cell);
  const own = pieces.filter((piece) => isPartOf(piece.role, role));
  const tensors = own.flatMap((piece) => piece.tensor ?? []);
  const [activationBytesIn, activationBytesOut] = countActivations(unit, role, cell, own);
  const kvBytesMoved = sum(own, (piece) => piece.kvBytes);
  const weightBytesMoved = sum(own, (piece) => piece.weightBytes);
  const weightsBytes = sum(tensors, (tensor) => tensor.bytes);
  const sequences = cell.phase === "decode" ? cell.rows : 1;
  const rowsEach = cell.phase === "decode" ? 1 : cell.rows;
  const holdsKv = own.some((piece) => piece.role === "attention.scores" || piece.role === "attention.kv_write");
  const widest = Math.max(0, ...own.map((piece) => piece.rows * (piece.widthIn + piece.widthOut) * F32_BYTES));
  return {
    weightsBytes,
    flops: sum(own, (piece) => piece.flops),
    bytesMoved: weightBytesMoved + kvBytesMoved + activationBytesIn + activationBytesOut,
    kvBytesMoved,
    weightBytesMoved,
    activationBytesIn,
    activationBytesOut,
    peakBytes:
      weightsBytes +
      (holdsKv ? unit.kvBytesPerToken * sequences * (cell.context + rowsEach) : 0) +
      Math.max(widest, activationBytesIn + activationBytesOut),
    tensors,
  };
}

/** True when a fine role is what `role` stands for, or a part of it. A residual is part of the total alone. */
export function isPartOf(fine: Role, role: RowRole): boolean {
  return role === "total" || role === fine || groupOf(fine) === role;
}

/** One tensor's work, or work without a tensor. Widths in f32 elements of a row. */
interface Piece {
  readonly role: Role;
  readonly tensor: TensorWork | null;
  readonly rows: number;
  readonly flops: number;
  readonly weightBytes: number;
  readonly kvBytes: number;
  readonly widthIn: number;
  readonly widthOut: number;
}

function listPieces(unit: UnitWork, cell: WorkCell): Piece[] {
  const pieces = unit.tensors.map((tensor) => countTensor(unit, tensor, cell));
  if (unit.attention !== null) pieces.push(...countAttention(unit, unit.attention, cell));
  if (unit.kind === "block") pieces.push(...countElementwise(unit, cell));
  return pieces;
}

/** What blocks compute without weights: the activation between their matrices, and two residual additions. */
function countElementwise(unit: UnitWork, cell: WorkCell): Piece[] {
  const rows = unit.dropsRows ? cell.outputRows : cell.rows;
  const bare = { tensor: null, rows, weightBytes: 0, kvBytes: 0 };
  const hidden = unit.hiddenWidth;
  const residual = {
    ...bare,
    role: "residual",
    flops: 2 * hidden * rows,
    widthIn: 4 * hidden,
    widthOut: 2 * hidden,
  } as const;
  const up = unit.tensors.find((tensor) => tensor.role === "mlp.up" && tensor.use === "matrix");
  const down = unit.tensors.find((tensor) => tensor.role === "mlp.down" && tensor.use === "matrix");
  if (up === undefined || down === undefined) return [residual];
  const isGated = unit.tensors.some((tensor) => tensor.role === "mlp.gate");
  const widthOut = down.dims[0] ?? 0;
  const widthIn = isGated ? 2 * widthOut : (up.dims[1] ?? 0);
  return [residual, { ...bare, role: "mlp.act", flops: ACTIVATION_FLOPS * widthOut * rows, widthIn, widthOut }];
}

function countTensor(unit: UnitWork, tensor: TensorWork, cell: WorkCell): Piece {
  const rows = countRows(unit, tensor, cell);
  const [widthIn = 1, widthOut = 1] = tensor.dims;
  const elements = tensor.dims.reduce((product, dim) => product * dim, 1);
  const piece = { role: tensor.role, tensor, rows, kvBytes: 0, widthIn, widthOut };
  switch (tensor.use) {
    case "matrix":
      return { ...piece, flops: 2 * elements * rows, weightBytes: tensor.bytes };
    case "experts": {
      const { count, used } = unit.experts ?? { count: 1, used: 1 };
      const met = 1 - (1 - used / count) ** rows;
      return { ...piece, flops: 2 * widthIn * widthOut * used * rows, weightBytes: tensor.bytes * met };
    }
    case "lookup":
      return {
        ...piece,
        flops: widthIn * rows,
        weightBytes: (tensor.bytes / widthOut) * Math.min(rows, widthOut),
        widthOut: widthIn,
      };
    case "vector": {
      const flops = (tensor.role === "norm" && tensor.name.endsWith(".weight") ? NORM_FLOPS : 1) * widthIn * rows;
      return { ...piece, flops, weightBytes: tensor.bytes, widthOut: widthIn };
    }
  }
}

/** In the last block, what is before and in the attention sees all rows, the rest only those that are wanted. */
function countRows(unit: UnitWork, tensor: TensorWork, cell: WorkCell): number {
  if (unit.kind === "head") return cell.outputRows;
  if (!unit.dropsRows) return cell.rows;
  const isBefore = tensor.role.startsWith("attention.") || /^attn_([qkv]_)?norm/.test(tensor.name);
  return isBefore ? cell.rows : cell.outputRows;
}

function countAttention(unit: UnitWork, attention: AttentionWork, cell: WorkCell): Piece[] {
  const { heads, kvHeads, keySize, valueSize } = attention;
  const { rows } = cell;
  const { pairs, positions } = countPositions(cell, attention.window ?? Number.POSITIVE_INFINITY);
  const bare = { tensor: null, rows, flops: 0, weightBytes: 0, kvBytes: 0 };
  const keysAndQueries = (heads + kvHeads) * keySize;
  return [
    {
      ...bare,
      role: "attention.rope",
      flops: attention.rotary ? ROPE_FLOPS * keysAndQueries * rows : 0,
      widthIn: keysAndQueries,
      widthOut: keysAndQueries,
    },
    {
      ...bare,
      role: "attention.kv_write",
      kvBytes: unit.kvBytesPerToken * rows,
      widthIn: kvHeads * (keySize + valueSize),
      widthOut: 0,
    },
    {
      ...bare,
      role: "attention.scores",
      flops: 2 * heads * (keySize + valueSize) * pairs,
      kvBytes: unit.kvBytesPerToken * positions,
      widthIn: heads * keySize,
      widthOut: heads * valueSize,
    },
  ];
}

/** Pairs of a row and a position that it sees, and positions whose keys and values are read. */
function countPositions({ phase, rows, context }: WorkCell, window: number): { pairs: number; positions: number } {
  if (phase === "decode") {
    const seen = Math.min(window, context + 1);
    return { pairs: rows * seen, positions: rows * seen };
  }
  const growing = Math.min(rows, Math.max(0, window - context));
  const growingPairs = growing * context + (growing * (growing + 1)) / 2;
  const pairs = rows > growing ? growingPairs + (rows - growing) * window : growingPairs;
  return { pairs, positions: Math.min(context + rows, window + rows - 1) };
}

/** Of the role as a whole: what a row brings in and takes out, in bytes. */
function countActivations(unit: UnitWork, role: RowRole, cell: WorkCell, own: readonly Piece[]): [number, number] {
  if (own.length === 0) return [0, 0];
  const hidden = unit.hiddenWidth;
  const rowsOut = unit.kind === "head" || unit.dropsRows ? cell.outputRows : cell.rows;
  const bytes = (rows: number, width: number) => rows * width * F32_BYTES;
  if (unit.kind === "embedding") {
    // A token's number comes in for `total` and for the table of tokens; positions are counted by the engine itself.
    return [cell.rows * F32_BYTES, bytes(cell.rows, hidden)];
  }
  if (unit.kind === "head") {
    const vocabulary = Math.max(
      0,
      ...unit.tensors.map((tensor) => (tensor.use === "matrix" ? (tensor.dims[1] ?? 0) : 0)),
    );
    return [bytes(rowsOut, hidden), bytes(rowsOut, role === "norm" ? hidden : vocabulary)];
  }
  if (role === "total" || role === "attention") return [bytes(cell.rows, hidden), bytes(rowsOut, hidden)];
  if (role === "mlp" || role === "moe.experts") return [bytes(rowsOut, hidden), bytes(rowsOut, hidden)];
  if (role === "norm") {
    const through = sum(own, (piece) =>
      piece.tensor?.name.endsWith(".weight") === true ? piece.rows * piece.widthIn : 0,
    );
    return [through * F32_BYTES, through * F32_BYTES];
  }
  // Matrices of one fine role read the same rows; each writes its own.
  const wide = own.filter((piece) => piece.tensor?.use !== "vector");
  return [
    Math.max(0, ...wide.map((piece) => bytes(piece.rows, piece.widthIn))),
    sum(wide, (piece) => bytes(piece.rows, piece.widthOut)),
  ];
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}
