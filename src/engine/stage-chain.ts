import { must, NoodleError } from "../common/index.ts";
import { joinObservations, type StepObservation } from "../observe/index.ts";
import type {
  KvLayer,
  SamplingParams,
  SlotStart,
  Stage,
  StageForwardOptions,
  StageInput,
  StageOutput,
} from "./types.ts";

/** Stages of one model behind one another in one process: what the cluster does, without a network in between. */
export class StageChain {
  readonly stages: readonly Stage[];

  /** @param stages in order, from unit 0 to the head, without gap. Owned: `close` closes them. */
  constructor(stages: readonly Stage[]) {
    let at = 0;
    for (const { info } of stages) {
      if (info.units.first !== at)
        throw new NoodleError("SPLIT_INVALID", `stage ${info.units.first}:${info.units.end} follows unit ${at}`);
      at = info.units.end;
    }
    if (at !== stages.at(-1)?.info.unitCount) throw new NoodleError("SPLIT_INVALID", `the stages end at unit ${at}`);
    this.stages = stages;
  }

  openSlot(slot: number, sampling: SamplingParams, start?: SlotStart): void {
    for (const stage of this.stages) stage.openSlot(slot, sampling, start);
  }

  closeSlot(slot: number, keep = false): void {
    for (const stage of this.stages) stage.closeSlot(slot, keep);
  }

  truncate(slot: number, position: number): void {
    for (const stage of this.stages) stage.truncate(slot, position);
  }

  fillContext(slot: number, tokens: number): void {
    for (const stage of this.stages) stage.fillContext(slot, tokens);
  }

  /** As `Stage.forward` of the whole model; `computeNs` is the sum, and observations lie behind one another. */
  forward(input: StageInput, options?: StageForwardOptions): StageOutput {
    let output: StageOutput | undefined;
    let computeNs = 0;
    const observations: StepObservation[] = [];
    for (const stage of this.stages) {
      output = stage.forward({ ...input, hidden: output?.hidden ?? null }, options);
      computeNs += output.computeNs;
      if (output.observation !== null) observations.push(output.observation);
    }
    return { ...must(output, "a stage"), computeNs, observation: joinObservations(observations) };
  }

  readKv(slot: number): readonly KvLayer[] {
    return this.stages.flatMap((stage) => stage.readKv(slot));
  }

  close(): void {
    for (const stage of this.stages) stage.close();
  }
}
