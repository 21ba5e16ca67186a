import { z } from "zod";
import { modelPlanSchema } from "../placement/index.ts";
import { simulationSchema } from "../sim/index.ts";

/** Against the first case; null where one of the two has no such figure. */
const ratio = z.number().min(0).nullable();

/** `noodle.whatif.v1`: what changes of a cluster or a model would bring. */
export const whatifSchema = z.object({
  schema: z.literal("noodle.whatif.v1"),
  /** In words, one each. */
  changes: z.array(z.string()).min(1),
  /** What was simulated, in words. */
  workload: z.string(),
  /** The verdict, one sentence each. */
  words: z.array(z.string()),
  /** `now` first, planned anew last; between them the old plan after the change, where it can still be run. */
  cases: z
    .array(
      z.object({
        what: z.string(),
        /** Ranges of units, such as `0:6,6:14`. */
        split: z.string(),
        /** Names of the nodes, stage by stage. */
        order: z.array(z.string()),
        policy: modelPlanSchema.unwrap().shape.policy,
        simulation: simulationSchema,
        /** 1.2 = a fifth more, of times as of tokens. */
        ratios: z.object({ tokens_per_s: ratio, itl_p50: ratio, ttft_p50: ratio, e2e_p50: ratio }),
      }),
    )
    .min(2),
  /** What was assumed, and profiles that do not fit altogether. */
  notes: z.array(z.string()),
});
