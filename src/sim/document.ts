import { z } from "zod";
import { distributionSchema } from "./distribution.ts";

const ms = z.number().min(0);
const ratio = z.number().min(0);
const count = z.int().min(0);

/** `noodle.simulation.v1`: what a workload meets on a cluster. Times in milliseconds of the simulation. */
export const simulationSchema = z.object({
  schema: z.literal("noodle.simulation.v1"),
  seed: z.number(),
  /** Same input and seed: same hash of all events, on every machine. */
  event_hash: z.string().regex(/^[0-9a-f]{16}$/),
  events: count,
  /** From the first arrival to the end of the last request. */
  simulated_ms: ms,
  requests: z.object({
    finished: count,
    /** Would not have fitted even alone. */
    refused: count,
    /** Sessions whose text was read again because their KV was gone. */
    read_again: count,
    prompt_tokens: count,
    /** Of these, found in the KV that earlier requests had left. */
    reused_tokens: count,
    generated_tokens: count,
  }),
  throughput: z.object({
    /** Generated. */
    tokens_per_s: z.number().min(0),
    prompt_tokens_per_s: z.number().min(0),
    requests_per_s: z.number().min(0),
  }),
  /** From arrival until the coordinator has the first token, and until the last stage has computed it. */
  ttft_ms: distributionSchema,
  ttft_computed_ms: distributionSchema,
  /** From token to token of a request. */
  itl_ms: distributionSchema,
  /** From arrival to the last token. */
  e2e_ms: distributionSchema,
  /** From arrival until it has a slot. */
  queue_ms: distributionSchema,
  queue: z.object({ peak: count, mean: z.number().min(0) }),
  stages: z.array(
    z.object({
      /** More than one where plans changed, or several stand side by side. */
      pipeline: count,
      stage: count,
      node: z.string(),
      /** Half-open range of units. */
      first: count,
      end: count,
      micro_batches: count,
      rows: count,
      busy_ms: ms,
      /** Of `simulated_ms`. */
      busy_ratio: ratio,
      bubble_ratio: z.number(),
      kv_bytes_peak: z.number().min(0),
    }),
  ),
  links: z.array(
    z.object({
      from: z.string(),
      to: z.string(),
      messages: count,
      bytes: z.number().min(0),
      /** Messages that had to be sent again. */
      lost: count,
      /** Of `simulated_ms`: time in which bytes were put on it. */
      use_ratio: ratio,
    }),
  ),
  kv: z.array(z.object({ pipeline: count, tokens_peak: count, tokens_limit: count })),
});

export type SimulationDocument = Readonly<z.infer<typeof simulationSchema>>;
