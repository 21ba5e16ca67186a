import type { UnitRange } from "./types.ts";

/** Planned misbehaviour, so that tests reach the error paths of everything around an engine. */
export interface FakeFaults {
  /** The process aborts (SIGABRT) when a run holds this token, as a failed assertion of the library would. */
  readonly abortOnToken?: number;
  /** `forward` fails with NON_FINITE when a run holds this token. */
  readonly nonFiniteOnToken?: number;
  /** `canary` fails with NON_FINITE, as damaged weights would make it. */
  readonly canaryNonFinite?: boolean;
  /** Time that each `forward` blocks its thread for. */
  readonly computeMs?: number;
}

/** What a fake stage file holds, as JSON. */
export interface FakeModel {
  readonly units: UnitRange;
  readonly layers: number;
  readonly nEmbd: number;
  readonly nVocab: number;
  /** Token that ends a text, for grammars. @default none */
  readonly endToken?: number;
  readonly faults?: FakeFaults;
}
