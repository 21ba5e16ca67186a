/** A tensor that a graph node reads. */
export interface GraphSource {
  /** Ordinal of the node that makes it; -1 for weights, inputs and caches. */
  readonly ordinal: number;
  readonly name: string;
}

/** One node of a computation graph, in the order in which the engine goes through them. */
export interface GraphNode {
  readonly ordinal: number;
  /** As the engine named it (`attn_norm-3`); not unique. */
  readonly name: string;
  /** `MUL_MAT`, `ROPE`, ... */
  readonly op: string;
  /** `f32`, `f16`, ... */
  readonly type: string;
  /** Elements in each dimension, the innermost first. */
  readonly shape: readonly number[];
  readonly sources: readonly GraphSource[];
  /** Nothing is computed: a view of another tensor, or a branch that the engine passes over. */
  readonly isView: boolean;
}

/** What a graph does not say of the stage that it belongs to. */
export interface GraphStage {
  /** Half-open range of units. */
  readonly units: { readonly first: number; readonly end: number };
  /** Units of the undivided model. */
  readonly unitCount: number;
}

/** True for a stage of nothing but the head: its file holds a block of zeros that is no part of the model. */
export function isHeadAlone({ units, unitCount }: GraphStage): boolean {
  return units.first === unitCount - 1;
}
