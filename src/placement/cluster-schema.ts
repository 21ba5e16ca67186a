import { z } from "zod";
import { BANDWIDTH_PATTERN, SIZE_PATTERN } from "./quantities.ts";

/** Far above any cluster, low enough that nothing overflows. */
export const CLUSTER_LIMITS = {
  /** Bytes of the text. */
  textBytes: 2 ** 20,
  /** Uses of an anchor, counted as if each were written out. */
  aliases: 100,
  /** Values inside values. The schema needs five. */
  depth: 32,
  /** With those that `count` stands for. */
  nodes: 4096,
  nameLength: 64,
  /** What a key or a list of more than this holds is no cluster. */
  items: 16_384,
} as const;

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;

const name = z.string().max(CLUSTER_LIMITS.nameLength).regex(NAME, {
  error: "must be a name of letters, digits, dots, dashes and underscores",
});
const path = z.string().min(1).max(4096);
const milliseconds = z.number().min(0).max(60_000);
const seconds = z.number().min(0).max(1e9);
const factor = z.number().min(0.001).max(1000);
const size = z
  .union(
    [
      z
        .int()
        .min(2 ** 20)
        .max(2 ** 50),
      z.string().regex(SIZE_PATTERN),
    ],
    {
      error: "must be a size such as 12GiB or 500MB, or a whole number of bytes, from 1MiB to 1PiB",
    },
  )
  .describe("such as 12GiB, 500MB, or bytes");
const bandwidth = z
  .union([z.number().min(1e3).max(1e15), z.string().regex(BANDWIDTH_PATTERN)], {
    error: "must be a bandwidth such as 1Gbit/s or 125MB/s, or bits per second, from 1kbit/s on",
  })
  .describe("such as 1Gbit/s, 125MB/s, or bits per second");

const link = {
  latency_ms: milliseconds.describe("one way, of an empty message"),
  bandwidth,
  jitter_ms: milliseconds.optional().describe("standard deviation of what comes on top of the latency"),
  loss: z.number().min(0).max(0.5).optional().describe("share of messages that are lost and sent again, 0-0.5"),
  loss_burst_ms: milliseconds.optional().describe("mean length of a spell of loss; 0 = losses do not cluster"),
};
const pair = z.array(name).length(2, { error: "must be two names of nodes" });

const scale = z.strictObject({
  decode: factor.optional().describe("2 = decode steps take twice the time"),
  prefill: factor.optional().describe("2 = prompt chunks take twice the time"),
});

const hardware = z.strictObject({
  memory_gb_per_s: z.number().min(0.1).max(1e5).describe("memory bandwidth of a device, GB/s"),
  compute_gflops: z.number().min(0.1).max(1e8).describe("arithmetic of a device, GFLOP/s"),
  devices: z.int().min(1).max(1024).optional().describe("alike devices that share every step"),
  calibrate: z.array(path).min(1).max(64).optional().describe("profiles whose machines tell how much of it is reached"),
});

const node = z.strictObject({
  name,
  count: z.int().min(1).max(CLUSTER_LIMITS.nodes).optional().describe("so many alike: name-1, name-2, ..."),
  address: z.string().min(1).max(256).optional().describe("host:port of a worker that exists"),
  profile: path.optional().describe("profile.json of `noodle profile`, relative to this file"),
  scale: scale.optional().describe("makes a virtual node of the profile: its times multiplied"),
  hardware: hardware.optional().describe("makes a virtual node of data-sheet figures, instead of a profile"),
  memory: size.optional().describe("for weights, KV and buffers"),
  overhead_ms: milliseconds.optional().describe("added to every engine call"),
});

const slowdown = z.strictObject({
  node: name.optional(),
  link: pair.optional().describe("from, to"),
  factor: factor.describe("2 = everything takes twice the time"),
  from_s: seconds,
  until_s: seconds.optional(),
  every_s: seconds.optional().describe("again after so long"),
});

const failure = z.strictObject({ node: name, at_s: seconds, back_after_s: seconds.optional() });

const many = <T extends z.ZodType>(item: T) => z.array(item).max(CLUSTER_LIMITS.items);

/** `cluster.yaml` as it is written; what concerns more than one field is checked by `readCluster`. */
export const clusterSchema = z.strictObject({
  schema: z.literal("noodle/v1", { error: 'must be "noodle/v1"' }),
  name: z.string().max(256).optional(),
  coordinator: name.optional().describe("node beside which the coordinator runs; absent: beside the first stage"),
  nodes: many(node).min(1),
  links: z
    .strictObject({
      default: z.strictObject(link),
      pairs: many(
        z.strictObject({
          between: pair.optional().describe("both ways"),
          from: name.optional(),
          to: name.optional(),
          ...link,
        }),
      ).optional(),
    })
    .optional()
    .describe("absent: hops cost nothing"),
  slowdowns: many(slowdown).optional(),
  failures: many(failure).optional(),
});

export type ClusterFile = z.infer<typeof clusterSchema>;
