import type { AsyncEngine } from "../../src/cluster/worker/stage-thread.ts";
import { must } from "../../src/common/index.ts";
import { loadEngine, openStage, probeRowClasses, type Stage } from "../../src/engine/index.ts";
import type { CutModel } from "../model/cut.ts";

/** Probes of one process share a folder and a process id: one at a time. */
let probing: Promise<unknown> = Promise.resolve();

/** The real engine on this thread: whole clusters of small models in one process, without stage files to hand out. */
export function createRealEngine(model: CutModel): AsyncEngine {
  let stage: Stage | undefined;
  let file = "";
  const loaded = (): Stage => must(stage, "loaded stage");
  return {
    start: async () => loadEngine(),
    load: async (config) => {
      const [first = 0, end = 0] = config.stageFile.split(":").map(Number);
      file = await model.cut({ first, end });
      stage = await openStage({ ...config, stageFile: file });
      return stage.info;
    },
    probe: () => {
      const probed = probing.then(() => probeRowClasses(file, loaded().info.threads, model.folder));
      probing = probed.catch(() => undefined);
      return probed.then((classes) => JSON.stringify(classes));
    },
    openSlot: async (slot, sampling, start) => loaded().openSlot(slot, sampling, start),
    closeSlot: async (slot, keep) => {
      loaded().closeSlot(slot, keep);
      return loaded().keptTokens(slot);
    },
    forward: async ({ input, truncations, wantLogits }) => {
      for (const { slot, position } of truncations) loaded().truncate(slot, position);
      const startNs = Number(process.hrtime.bigint());
      const output = loaded().forward(input, { wantLogits });
      return { ...output, startNs, endNs: Number(process.hrtime.bigint()) };
    },
    readKv: async (slot) => loaded().readKv(slot),
    canary: async () => loaded().canary(),
    close: async () => {
      stage?.close();
      stage = undefined;
    },
  };
}
