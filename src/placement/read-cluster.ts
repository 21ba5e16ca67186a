import type { z } from "zod";
import type { NoodleError } from "../common/index.ts";
import { CLUSTER_LIMITS, type ClusterFile, clusterSchema } from "./cluster-schema.ts";
import type { Cluster, ClusterNode, Failure, Link, LinkPair, NodeCosts, Slowdown } from "./cluster-types.ts";
import { FREE_LINK } from "./links.ts";
import { findNearest } from "./nearest.ts";
import { parseBandwidth, parseSize } from "./quantities.ts";
import { YamlSource } from "./yaml-source.ts";

/**
 * Reads a `cluster.yaml` (JSON is YAML, too).
 *
 * @param label how messages call the text, usually its path
 * @throws NoodleError `CLUSTER_INVALID` naming line, column, value, limit and, of a misspelt key, the nearest known one
 */
export function readCluster(text: string, label = "cluster.yaml"): Cluster {
  const source = new YamlSource(text, label);
  const read = clusterSchema.safeParse(source.value, { reportInput: true });
  if (!read.success) throw fromIssue(source, read.error.issues[0]);
  return new Reader(source, read.data).read();
}

/** What no single field shows. */
class Reader {
  readonly #source: YamlSource;
  readonly #file: ClusterFile;
  readonly #names = new Map<string, number>();

  constructor(source: YamlSource, file: ClusterFile) {
    this.#source = source;
    this.#file = file;
  }

  read(): Cluster {
    const nodes = this.#file.nodes.flatMap((_, index) => this.#readNodes(index));
    if (nodes.length > CLUSTER_LIMITS.nodes) {
      throw this.#source.invalid(`${nodes.length} nodes; the limit is ${CLUSTER_LIMITS.nodes}`, ["nodes"]);
    }
    const { coordinator = null, links, slowdowns = [], failures = [] } = this.#file;
    if (coordinator !== null) this.#checkName(coordinator, ["coordinator"]);
    return {
      name: this.#file.name ?? null,
      coordinator,
      nodes,
      links: {
        default: links === undefined ? FREE_LINK : this.#readLink(links.default, ["links", "default"]),
        pairs: this.#readPairs(),
      },
      slowdowns: slowdowns.map((_, index) => this.#readSlowdown(index)),
      failures: failures.map(({ node, at_s, back_after_s }, index): Failure => {
        this.#checkName(node, ["failures", index, "node"]);
        return { node, atS: at_s, backAfterS: back_after_s ?? null };
      }),
    };
  }

  #readNodes(index: number): ClusterNode[] {
    const written = this.#file.nodes[index];
    if (written === undefined) return [];
    const { name, count } = written;
    const path = ["nodes", index];
    if (count !== undefined && written.address !== undefined) {
      throw this.#source.invalid("stands beside address; machines that exist are written one by one", [
        ...path,
        "count",
      ]);
    }
    const names = count === undefined ? [name] : Array.from({ length: count }, (_, number) => `${name}-${number + 1}`);
    const costs = this.#readCosts(written, path);
    return names.map((each) => {
      const before = this.#names.get(each);
      if (before !== undefined) {
        const words = `"${each}" is also the name of nodes[${before}]; names must differ`;
        throw this.#source.invalid(words, [...path, "name"]);
      }
      this.#names.set(each, index);
      const isReal = costs.type !== "hardware" && written.scale === undefined;
      return {
        name: each,
        kind: isReal ? "real" : "virtual",
        address: written.address ?? null,
        memoryBytes: this.#readSize(written.memory, [...path, "memory"]),
        overheadMs: written.overhead_ms ?? 0,
        costs,
      };
    });
  }

  #readCosts(written: ClusterFile["nodes"][number], path: readonly PropertyKey[]): NodeCosts {
    const { profile, hardware, scale, address } = written;
    if (profile !== undefined && hardware !== undefined) {
      throw this.#source.invalid("has a profile and a hardware model; keep one of them", path);
    }
    if (scale !== undefined && profile === undefined) {
      throw this.#source.invalid("multiplies the times of a profile; the node has none", [...path, "scale"]);
    }
    if (hardware !== undefined) {
      if (address !== undefined) {
        throw this.#source.invalid("is a virtual node (hardware): it has no address", [...path, "address"]);
      }
      const { memory_gb_per_s, compute_gflops, devices = 1, calibrate = [] } = hardware;
      return {
        type: "hardware",
        hardware: { memoryGbPerS: memory_gb_per_s, computeGflops: compute_gflops, devices },
        calibratedBy: calibrate,
      };
    }
    if (profile !== undefined) {
      return { type: "profile", profile, scale: { decode: scale?.decode ?? 1, prefill: scale?.prefill ?? 1 } };
    }
    if (address === undefined) {
      throw this.#source.invalid(
        `node "${written.name}" has no profile, no hardware model and no address; on its machine \`noodle profile MODEL --out DIR\` makes a profile, and with \`--synthetic\` from the model's header alone`,
        path,
      );
    }
    return { type: "none" };
  }

  #readPairs(): LinkPair[] {
    const seen = new Map<string, number>();
    return (this.#file.links?.pairs ?? []).flatMap((written, index): LinkPair[] => {
      const path = ["links", "pairs", index];
      const { between, from, to } = written;
      if ((between === undefined) === (from === undefined && to === undefined)) {
        throw this.#source.invalid("needs either between: [a, b], or from and to", path);
      }
      if (between === undefined && (from === undefined || to === undefined)) {
        throw this.#source.invalid("needs both from and to", path);
      }
      const [a = "", b = ""] = between ?? [from, to];
      for (const name of [a, b]) this.#checkName(name, path);
      if (a === b) throw this.#source.invalid(`"${a}" has no link to itself`, path);
      const link = this.#readLink(written, path);
      const pairs =
        between === undefined
          ? [{ from: a, to: b, link }]
          : [
              { from: a, to: b, link },
              { from: b, to: a, link },
            ];
      for (const pair of pairs) {
        const key = `${pair.from} ${pair.to}`;
        const before = seen.get(key);
        if (before !== undefined) {
          throw this.#source.invalid(`the way from ${pair.from} to ${pair.to} is also in links.pairs[${before}]`, path);
        }
        seen.set(key, index);
      }
      return pairs;
    });
  }

  #readLink(
    written: Pick<NonNullable<ClusterFile["links"]>["default"], keyof NonNullable<ClusterFile["links"]>["default"]>,
    path: readonly PropertyKey[],
  ): Link {
    const { latency_ms, bandwidth, jitter_ms = 0, loss = 0, loss_burst_ms = 0 } = written;
    const bytesPerMs = typeof bandwidth === "number" ? bandwidth / 8000 : (parseBandwidth(bandwidth) ?? 0);
    if (!(bytesPerMs >= 0.125 && bytesPerMs <= 1.25e11)) {
      throw this.#source.invalid(`${bandwidth} is out of range; from 1kbit/s to 1000Tbit/s`, [...path, "bandwidth"]);
    }
    return { latencyMs: latency_ms, bytesPerMs, jitterMs: jitter_ms, lossRatio: loss, lossBurstMs: loss_burst_ms };
  }

  #readSize(size: number | string | undefined, path: readonly PropertyKey[]): number | null {
    if (size === undefined) return null;
    const bytes = typeof size === "number" ? size : (parseSize(size) ?? 0);
    if (bytes < 2 ** 20 || bytes > 2 ** 50) {
      throw this.#source.invalid(`${size} is out of range; from 1MiB to 1PiB`, path);
    }
    return bytes;
  }

  #readSlowdown(index: number): Slowdown {
    const path = ["slowdowns", index];
    const { node, link, factor, from_s, until_s, every_s } = this.#file.slowdowns?.[index] ?? { factor: 1, from_s: 0 };
    if ((node === undefined) === (link === undefined)) {
      throw this.#source.invalid("needs either a node or a link, and not both", path);
    }
    if (until_s !== undefined && until_s <= from_s) {
      throw this.#source.invalid(`${until_s} is not behind from_s, ${from_s}`, [...path, "until_s"]);
    }
    if (every_s !== undefined && (until_s === undefined || every_s < until_s - from_s || every_s === 0)) {
      const words = "needs an until_s, and must be at least as long as from from_s to until_s";
      throw this.#source.invalid(words, [...path, "every_s"]);
    }
    const [from = "", to = ""] = link ?? [];
    for (const name of node === undefined ? [from, to] : [node]) this.#checkName(name, path);
    return {
      target: node === undefined ? { type: "link", from, to } : { type: "node", node },
      factor,
      fromS: from_s,
      untilS: until_s ?? null,
      everyS: every_s ?? null,
    };
  }

  #checkName(name: string, path: readonly PropertyKey[]): void {
    if (this.#names.has(name)) return;
    const nearest = findNearest(name, [...this.#names.keys()]);
    const hint = nearest === null ? "" : `; did you mean "${nearest}"?`;
    throw this.#source.invalid(`there is no node "${name}"${hint}`, path);
  }
}

/** Keys by the path of their object, list places left out; for the nearest known one. */
const KNOWN_KEYS = listKeys(clusterSchema);

function listKeys(schema: z.ZodType, path = "", keys = new Map<string, string[]>()): Map<string, string[]> {
  const inner = unwrap(schema);
  const { def } = inner;
  if (def.type === "object") {
    const { shape } = inner as z.ZodObject;
    keys.set(path, Object.keys(shape));
    for (const [key, child] of Object.entries(shape))
      listKeys(child as z.ZodType, path === "" ? key : `${path}.${key}`, keys);
  } else if (def.type === "array") {
    listKeys((inner as z.ZodArray).element as z.ZodType, path, keys);
  }
  return keys;
}

function unwrap(schema: z.ZodType): z.ZodType {
  return schema.def.type === "optional" ? ((schema as z.ZodOptional).unwrap() as z.ZodType) : schema;
}

function fromIssue(source: YamlSource, issue: z.core.$ZodIssue | undefined): NoodleError {
  if (issue === undefined) return source.invalid("is no cluster", []);
  const path = issue.path;
  if (issue.code === "unrecognized_keys") {
    const [key = ""] = issue.keys;
    const known = KNOWN_KEYS.get(path.filter((part) => typeof part !== "number").join(".")) ?? [];
    const nearest = findNearest(key, known);
    const hint = nearest === null ? `known are ${known.join(", ")}` : `did you mean "${nearest}"?`;
    return source.invalid(`"${key.slice(0, 64)}" is no key here; ${hint}`, path, key);
  }
  const input = "input" in issue ? issue.input : undefined;
  if (input === undefined) {
    return source.invalid(issue.message.startsWith("must") ? `is missing; it ${issue.message}` : "is missing", path);
  }
  if (input === null && path.length === 0) return source.invalid("the file is empty", path);
  return source.invalid(
    `${show(input)} ${issue.code === "invalid_union" || issue.code === "custom" || issue.message.startsWith("must") ? issue.message : `is not allowed (${issue.message})`}`,
    path,
  );
}

/** A hostile value must not make a hostile message. */
function show(value: unknown): string {
  if (value === null) return "nothing";
  if (typeof value === "string") return JSON.stringify(value.slice(0, 64));
  if (Array.isArray(value)) return `a list of ${value.length}`;
  return typeof value === "number" || typeof value === "boolean" ? String(value) : "an object";
}
