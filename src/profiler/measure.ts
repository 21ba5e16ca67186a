import { loadEngine, openStage } from "../engine/index.ts";
import { type Cell, formatCell } from "./cells.ts";
import { measureComputeRate } from "./compute-rate.ts";
import { measureMemoryRate } from "./memory-rate.ts";
import type { HookedStep, MeasureJob, MeasureMessage, PlainStep, TurnSamples } from "./messages.ts";
import { SeededRandom } from "./random.ts";
import { Scheduler, type Visit } from "./scheduler.ts";
import { countSequences } from "./stage-shape.ts";
import { Stepper } from "./stepper.ts";

/** Until clocks and caches are where they stay. */
const WARM_UP_MS = 300;

/**
 * Does a whole job in this process: the machine's limits, then the cells. Blocks the thread from step to step; between
 * turns it waits until what was measured has been handed on.
 *
 * @param send must settle when the message has left the process
 */
export async function measure(job: MeasureJob, send: (message: MeasureMessage) => Promise<void>): Promise<void> {
  loadEngine(job.engine);
  await send({ type: "phase", words: "measuring the machine's memory and arithmetic" });
  const memoryGbPerS = await measureMemoryRate(job.machine.readBytes, job.threads);
  const compute = await measureComputeRate(job.machine, job.threads);
  await send({ type: "machine", rates: { memoryGbPerS, ...compute } });

  await send({ type: "phase", words: "loading the model" });
  const stage = await openStage({
    stageFile: job.stageFile,
    threads: job.threads,
    ...job.shape,
    hookable: true,
  });
  try {
    await send({ type: "stage", info: stage.info });
    const random = new SeededRandom(job.seed);
    const stepper = new Stepper(stage, job.level, job.vocabulary, random);
    await send({ type: "phase", words: `measuring ${job.cells.length} cells` });
    const startMs = performance.now();
    const { weightsBytes, kvBytesPerToken, cells, budgetMs } = job;
    const scheduler = new Scheduler({ cells, budgetMs, facts: { weightsBytes, kvBytesPerToken }, random });
    for (;;) {
      const visit = scheduler.next(performance.now() - startMs);
      if (visit === null) break;
      const turnStartMs = performance.now();
      const turn = takeTurn(stepper, visit);
      const wallMs = performance.now() - turnStartMs;
      if (typeof turn === "number") {
        scheduler.record(visit, { onMs: [], offMs: [], gaveUpMs: turn, wallMs });
        continue;
      }
      const onMs = turn.hooked.map((step) => step.stepMs);
      const offMs = turn.plain.map((step) => step.stepMs);
      scheduler.record(visit, { onMs, offMs, gaveUpMs: null, wallMs });
      const progress = scheduler.progress(performance.now() - startMs);
      await send({ type: "turn", samples: turn, progress, words: formatCell(visit.cell) });
    }
    await send({ type: "done", skipped: scheduler.skipped });
  } finally {
    stage.close();
  }
}

/** @returns the time of its first step when that was too long to go on */
function takeTurn(stepper: Stepper, { cell, steps, warmUp, giveUpMs }: Visit): TurnSamples | number {
  stepper.enter(cell);
  if (warmUp !== "none") {
    const { stepMs } = stepper.stepOff(cell);
    if (stepMs > giveUpMs) return stepMs;
    warm(stepper, cell, warmUp);
  }
  const hooked: HookedStep[] = [];
  const plain: PlainStep[] = [];
  for (const withHooks of steps) {
    if (withHooks) hooked.push(stepper.stepOn(cell));
    else plain.push(stepper.stepOff(cell));
  }
  return { cell, outputRows: countSequences(cell), hooked, plain };
}

/** Steps that are thrown away: the first of a run find everything cold, the first with hooks learns the graph. */
function warm(stepper: Stepper, cell: Cell, warmUp: Visit["warmUp"]): void {
  const endMs = performance.now() + (warmUp === "run" ? WARM_UP_MS : 0);
  while (performance.now() < endMs) stepper.stepOff(cell);
  if (warmUp !== "turn") stepper.stepOn(cell);
}
