import { LogObserver, LogWriter } from "../src/logs/index.ts";
import { makeRun } from "../src/report/testing.ts";

const STEPS_PER_ROUND = 4000;

/** Writes logs as a long run would leave them, until they are `bytes` large. @returns their size in bytes */
export async function writeLongRun(directory: string, bytes: number): Promise<number> {
  let monoNs = 5_000_000_000_000;
  const writer = await LogWriter.create({
    directory,
    producerId: "coordinator",
    runId: "long",
    facts: { noodlecoreVersion: "bench", engineBuild: null, engineVariant: null },
    maxQueuedRows: 1 << 20,
    maxQueuedBytes: 1 << 30,
    keepSegments: 1 << 20,
    clock: { monoNs: () => monoNs, unixMs: () => 1_790_000_000_000 + monoNs / 1e6 },
  });
  const observer = new LogObserver(writer);
  const { requests, steps, layers } = makeRun({
    steps: STEPS_PER_ROUND,
    requests: 40,
    stages: ["0:6", "6:12", "12:18"],
  });
  const baseNs = steps[0]?.sentMonoNs ?? 0;
  const roundNs = (steps.at(-1)?.sentMonoNs ?? 0) - baseNs + 1e9;
  for (let round = 0; writer.stats().bytesWritten < bytes; round++) {
    const shift = round * roundNs;
    for (const request of requests) observer.onRequest(request);
    for (const step of steps) {
      monoNs = step.sentMonoNs + shift;
      observer.onStep({
        ...step,
        stepId: step.stepId + round * STEPS_PER_ROUND,
        sentMonoNs: step.sentMonoNs + shift,
        receivedMonoNs: step.receivedMonoNs + shift,
      });
    }
    for (const layer of layers) observer.onLayer({ ...layer, stepId: layer.stepId + round * STEPS_PER_ROUND });
    await writer.flush();
  }
  const { bytesWritten } = await writer.close();
  return bytesWritten;
}
