import { NoodleError } from "../common/index.ts";
import type { Phase } from "./levels.ts";
import { checkHookPattern, matchHookPoints } from "./points.ts";
import type { Role, RoleGroup } from "./roles.ts";

export type HookKind = "pre" | "post";

/** What a hook is told. Valid while the hook runs: keep the numbers, not the event. */
export interface HookEvent {
  readonly kind: HookKind;
  /** `blocks.12.attn.out`. */
  readonly point: string;
  /** The engine's name of the tensor. */
  readonly name: string;
  /** Of the segment that ends at this point; `total` for a whole unit. */
  readonly role: "total" | RoleGroup | Role;
  /** Unit of the undivided model. */
  readonly unit: number;
  readonly phase: Phase;
  /** Rows of the engine call: all sequences that it computes together. */
  readonly rows: number;
  /** Largest context among its sequences, the rows themselves included. */
  readonly contextTokens: number;
  /** From the beginning of the step, when the segment that ends here began. */
  readonly startNs: number;
  /** Of that segment: everything since the boundary before it. 0 for a pre hook. */
  readonly durationNs: number;
  /** Elements in each dimension, the innermost first, as in GGUF; trailing ones left out. */
  readonly shape: readonly number[];
  /** `f32`, `f16`, ... */
  readonly dtype: string;
  readonly bytes: number;
  /** Where the tensor lies: `cpu`, or the name of the backend's device. */
  readonly device: string;
  /** The tensor as f32 values, a copy. @throws NoodleError `ILLEGAL_STATE` in a pre hook, or after the hook returned */
  read(): Float32Array;
  /** The tensor's bytes, a copy. @throws NoodleError as `read` */
  readBytes(): Uint8Array;
}

export type Hook = (event: HookEvent) => void;

export interface HookPair {
  readonly pre?: Hook;
  readonly post?: Hook;
}

interface Registration {
  readonly pattern: string;
  readonly pair: HookPair;
}

/**
 * Functions that are called at points inside a computing stage: `pre` before the stretch that ends at the point is
 * computed, `post` when the point's tensor is there. Give it to `openStage`; hooks may come and go between two steps.
 *
 * A point is `embed.out`, `blocks.N.in`, `blocks.N.attn.out` and `blocks.N.mlp.out` (before they are added to the
 * residual stream), `blocks.N.out`, `head.norm.out`, `head.logits`; `*` for N means every block that the stage holds.
 * A hook must not call the stage. What it throws does not stop the engine: `forward` throws it when the call is over.
 */
export class HookRegistry {
  readonly #registrations = new Set<Registration>();
  #points: readonly string[] | undefined;
  #byPoint: ReadonlyMap<string, HookPair> | undefined;

  /** @returns a function that takes the hook back. @throws NoodleError as `on` */
  pre(pattern: string, hook: Hook): () => void {
    return this.on(pattern, { pre: hook });
  }

  /** @returns a function that takes the hook back. @throws NoodleError as `on` */
  post(pattern: string, hook: Hook): () => void {
    return this.on(pattern, { post: hook });
  }

  /**
   * @returns a function that takes both hooks back
   * @throws NoodleError `HOOK_POINT_UNKNOWN`, at once when a stage is attached, else when it is opened;
   *   `HOOK_POINT_TAKEN` when one of the points has such a hook already
   */
  on(pattern: string, pair: HookPair): () => void {
    checkHookPattern(pattern);
    if (this.#points !== undefined) matchHookPoints(pattern, this.#points);
    const registration = { pattern, pair };
    this.#registrations.add(registration);
    try {
      this.#byPoint = this.#collect();
    } catch (error) {
      this.#registrations.delete(registration);
      throw error;
    }
    return () => {
      this.#registrations.delete(registration);
      this.#byPoint = undefined;
    };
  }

  /**
   * Binds the registry to a stage; `openStage` calls it.
   *
   * @param points of the stage, as `listHookPoints` gives them
   * @throws NoodleError `ILLEGAL_STATE` while it serves another, `HOOK_POINT_UNKNOWN`, `HOOK_POINT_TAKEN`
   */
  attach(points: readonly string[]): void {
    if (this.#points !== undefined)
      throw new NoodleError(
        "ILLEGAL_STATE",
        "this HookRegistry serves another stage: close that one, or make a second",
      );
    for (const { pattern } of this.#registrations) matchHookPoints(pattern, points);
    this.#points = points;
    try {
      this.#byPoint = this.#collect();
    } catch (error) {
      this.#points = undefined;
      throw error;
    }
  }

  /** Frees the registry for another stage; closing a stage calls it. */
  detach(): void {
    this.#points = undefined;
    this.#byPoint = undefined;
  }

  /** Hooks by point of the attached stage. The same object until a hook comes or goes. */
  list(): ReadonlyMap<string, HookPair> {
    this.#byPoint ??= this.#collect();
    return this.#byPoint;
  }

  /** Without a stage, patterns stand for themselves: that `*` and a number meet shows when one is attached. */
  #collect(): ReadonlyMap<string, HookPair> {
    const points = this.#points;
    const collected = new Map<string, HookPair>();
    for (const { pattern, pair } of this.#registrations) {
      const matches = points === undefined ? [pattern] : matchHookPoints(pattern, points);
      for (const point of matches) {
        const have = collected.get(point) ?? {};
        for (const kind of ["pre", "post"] as const) {
          if (have[kind] === undefined || pair[kind] === undefined) continue;
          throw new NoodleError("HOOK_POINT_TAKEN", `${point} has a ${kind} hook already: take that one back first`, {
            details: { point, kind, legal: points ?? [] },
          });
        }
        collected.set(point, { ...have, ...pair });
      }
    }
    return collected;
  }
}
