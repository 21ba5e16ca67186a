import { must, NoodleError } from "../common/index.ts";
import { GREEDY, type RowRun, type Stage, type StageInput } from "../engine/index.ts";
import type { HookLevel, StepObservation } from "../observe/index.ts";
import type { Cell } from "./cells.ts";
import type { HookedStep, PlainStep, StepSegment } from "./messages.ts";
import type { SeededRandom } from "./random.ts";
import { countSequences } from "./stage-shape.ts";

/** A graph is learned by the first step that looks at it; more would mean that it changes from step to step. */
const MAX_LEARNING_STEPS = 8;

/**
 * Takes single steps of a cell through a stage and leaves the contexts as they were, so that one step is like the next.
 * Inputs are random: what is computed means nothing, what it costs does not depend on it.
 */
export class Stepper {
  readonly #stage: Stage;
  readonly #level: HookLevel;
  readonly #tokens: Int32Array;
  /** f32[maxRows, nEmbd]; null for a stage that looks tokens up. */
  readonly #hidden: Float32Array | null;

  /** @param stage borrowed; all of its slots are opened */
  constructor(stage: Stage, level: HookLevel, vocabulary: number, random: SeededRandom) {
    const { maxRows, nEmbd, hasEmbedding, parallel } = stage.info;
    this.#stage = stage;
    this.#level = level;
    this.#tokens = Int32Array.from({ length: maxRows }, () => random.nextInteger(Math.max(1, vocabulary)));
    this.#hidden = hasEmbedding ? null : Float32Array.from({ length: maxRows * nEmbd }, () => 2 * random.next() - 1);
    for (let slot = 0; slot < parallel; slot++) stage.openSlot(slot, GREEDY);
  }

  /** Gives every sequence of the cell its context. */
  enter(cell: Cell): void {
    for (let slot = 0; slot < countSequences(cell); slot++) {
      const position = this.#stage.nextPosition(slot);
      if (position > cell.context) this.#stage.truncate(slot, cell.context);
      if (position < cell.context) this.#stage.fillContext(slot, cell.context);
    }
  }

  /** A step without hooks. */
  stepOff(cell: Cell): PlainStep {
    const { input, restore } = this.#prepare(cell);
    const before = countPreemptions();
    const { computeNs } = this.#stage.forward(input);
    const preemptions = countPreemptions() - before;
    restore();
    return { stepMs: computeNs / 1e6, preemptions };
  }

  /** A step with hooks. */
  stepOn(cell: Cell): HookedStep {
    for (let tries = 0; tries < MAX_LEARNING_STEPS; tries++) {
      const { input, restore } = this.#prepare(cell);
      const before = countPreemptions();
      const output = this.#stage.forward(input, { observe: this.#level });
      const preemptions = countPreemptions() - before;
      restore();
      const observation = must(output.observation, "observation");
      if (!observation.learning) return summarise(observation, preemptions);
    }
    throw new NoodleError("ENGINE_FAILED", `the engine builds another graph for every step of ${cell.rows} rows`);
  }

  /** Logits are asked for as a running pipeline does: of every decoded row, of a prompt's last. */
  #prepare(cell: Cell): { readonly input: StageInput; readonly restore: () => void } {
    const { info } = this.#stage;
    const sequences = countSequences(cell);
    const rows = cell.rows / sequences;
    const runs = Array.from({ length: sequences }, (_, slot): RowRun => {
      return { slot, position: cell.context, rows, output: "last" };
    });
    // Behind the model's last block only output rows travel.
    const hiddenRows = info.units.first === info.unitCount - 1 ? sequences : cell.rows;
    return {
      input: {
        runs,
        tokens: this.#tokens.subarray(0, cell.rows),
        hidden: this.#hidden?.subarray(0, hiddenRows * info.nEmbd) ?? null,
      },
      restore: () => {
        for (let slot = 0; slot < sequences; slot++) this.#stage.truncate(slot, cell.context);
      },
    };
  }
}

/** Of all threads of this process. */
function countPreemptions(): number {
  return process.resourceUsage().involuntaryContextSwitches;
}

function summarise(observation: StepObservation, preemptions: number): HookedStep {
  const parts = new Map<string, { -readonly [K in keyof StepSegment]: StepSegment[K] }>();
  let otherNs = 0;
  for (const { unit, role, durationNs } of observation.segments) {
    const key = `${unit} ${role}`;
    const part = parts.get(key) ?? { unit, role, ms: 0, segments: 0 };
    part.ms += durationNs / 1e6;
    part.segments += 1;
    parts.set(key, part);
    if (role === "other") otherNs += durationNs;
  }
  return {
    stepMs: observation.stepNs / 1e6,
    preemptions,
    hookMs: observation.hookNs / 1e6,
    outsideMs: observation.outsideNs / 1e6,
    otherMs: otherNs / 1e6,
    segments: [...parts.values()],
  };
}
