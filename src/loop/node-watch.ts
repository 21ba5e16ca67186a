import type { CostModel } from "../profile/index.ts";
import { ClassWatch } from "./class-watch.ts";
import type { NodeFactors } from "./correct-costs.ts";
import { RatioTrack, type RatioChange } from "./ratio-track.ts";
import type { LoopLook, LoopOptions, LoopStage, LoopStageTimes, LoopStep, NodeFactor } from "./types.ts";

type Phase = LoopStep["phase"];

/** Between two tellings a factor may creep by so much. */
const DRIFT = 0.1;
/** A node that is said to have changed in one phase is not said to in the other for so long. */
const SAME_CHANGE_MS = 30_000;
const LEAST_CHANGE = 1.1;
const LEAST_SIGMA = 0.03;

export interface NodeFinding {
  readonly type: "measured" | "changed" | "crept";
  readonly phase: Phase;
  readonly from: number;
  readonly to: number;
  readonly change: RatioChange | null;
}

/** One node's times beside its profile's: a factor for each phase, and from looks inside, one for each class of units. */
export class NodeWatch {
  readonly node: string;
  #costs: CostModel;
  readonly #tracks: Record<Phase, RatioTrack>;
  readonly #classes = new ClassWatch();
  readonly #told: Partial<Record<Phase, number>> = {};
  #lastChange: { readonly atMs: number; readonly isSlower: boolean } | null = null;

  constructor(node: string, costs: CostModel, { halfLifeMs = 45_000 }: Pick<LoopOptions, "halfLifeMs">) {
    this.node = node;
    this.#costs = costs;
    const options = { halfLifeMs, leastChange: LEAST_CHANGE, leastSigma: LEAST_SIGMA };
    this.#tracks = { decode: new RatioTrack(options), prefill: new RatioTrack(options) };
  }

  useCosts(costs: CostModel): void {
    this.#costs = costs;
  }

  /** @param headUnit the model's last unit */
  add(step: LoopStep, times: LoopStageTimes, stage: LoopStage, headUnit: number): NodeFinding | null {
    const end = step.outputRows > 0 ? stage.end : Math.min(stage.end, headUnit);
    if (end <= stage.first || !(step.rows >= 1 && step.context >= 0)) return null;
    const { phase, context } = step;
    // Behind the blocks a prompt's chunk is its output rows alone, which cost what rows of a decode step do.
    const isHeadAlone = stage.first === headUnit;
    const query = isHeadAlone
      ? ({ phase: "decode", rows: step.outputRows, context } as const)
      : { phase, rows: step.rows, context };
    const predictedMs = this.#costs.predictStage({ first: stage.first, end }, query).ms;
    const track = this.#tracks[phase];
    const change = track.add(step.atMs, times.computeMs, predictedMs);
    const told = this.#told[phase];
    const { ratio } = track;
    if (ratio === null) return null;
    if (told === undefined) {
      this.#told[phase] = ratio;
      return { type: "measured", phase, from: 1, to: ratio, change: null };
    }
    if (change !== null) {
      this.#told[phase] = ratio;
      const isSlower = change.to > change.from;
      const last = this.#lastChange;
      this.#lastChange = { atMs: step.atMs, isSlower };
      if (last !== null && last.isSlower === isSlower && step.atMs - last.atMs < SAME_CHANGE_MS) return null;
      return { type: "changed", phase, from: change.from, to: change.to, change };
    }
    if (track.suspicious || Math.abs(Math.log(ratio / told)) <= Math.log(1 + DRIFT)) return null;
    this.#told[phase] = ratio;
    return { type: "crept", phase, from: told, to: ratio, change: null };
  }

  look(look: LoopLook): void {
    this.#classes.add(this.#costs, look);
  }

  /** The node has another stage: its factor is that of other units, each as slow as it was. */
  useStage({ first, end }: LoopStage): void {
    for (const phase of ["decode", "prefill"] as const) {
      const by = this.#weighClasses(phase, first, end);
      this.#tracks[phase].rebase(1 / by);
      this.#classes.rebase(phase, by);
      const told = this.#told[phase];
      if (told !== undefined) this.#told[phase] = told * by;
    }
  }

  get suspicious(): boolean {
    return this.#tracks.decode.suspicious || this.#tracks.prefill.suspicious;
  }

  /** Of a phase of which nothing is known, the other's. */
  factor(phase: Phase): number {
    const { decode, prefill } = this.#tracks;
    const [own, other] = phase === "decode" ? [decode, prefill] : [prefill, decode];
    return own.ratio ?? other.ratio ?? 1;
  }

  get levelSigma(): number {
    const { decode, prefill } = this.#tracks;
    return decode.ratio === null ? prefill.levelSigma : decode.levelSigma;
  }

  get known(): boolean {
    return this.#tracks.decode.ratio !== null;
  }

  /** What the profile's times are multiplied by. @param by all of it once more */
  factors(by: number): NodeFactors {
    const of = (phase: Phase, name: string | null): number =>
      by * this.factor(phase) * (name === null ? 1 : this.#classes.share(phase, name));
    return { step: (phase) => of(phase, null), unit: (phase, name) => of(phase, name) };
  }

  forgetBlocks(): void {
    this.#tracks.decode.forgetBlock();
    this.#tracks.prefill.forgetBlock();
  }

  list(): NodeFactor[] {
    return (["decode", "prefill"] as const).flatMap((phase) =>
      this.#tracks[phase].ratio === null
        ? []
        : this.#costs.document.classes.map(({ name }) => ({
            node: this.node,
            unitClass: name,
            phase,
            factor: this.factor(phase) * this.#classes.share(phase, name),
            samples: this.#tracks[phase].samples,
            looks: this.#classes.count(phase, name),
          })),
    );
  }

  /** How slow these units are together, against the node as it was judged so far. */
  #weighClasses(phase: Phase, first: number, end: number): number {
    let [plainMs, weighedMs] = [0, 0];
    for (const { name, units } of this.#costs.document.classes) {
      for (const unit of units) {
        if (unit < first || unit >= end) continue;
        const { ms } = this.#costs.predict(unit, { phase, rows: 1, context: 0 });
        plainMs += ms;
        weighedMs += ms * this.#classes.share(phase, name);
      }
    }
    return plainMs > 0 && weighedMs > 0 ? weighedMs / plainMs : 1;
  }
}
