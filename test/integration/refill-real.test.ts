import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { MONOTONIC_CLOCK } from "../../src/cluster/coordinator/clock.ts";
import { Pipeline } from "../../src/cluster/coordinator/pipeline.ts";
import { readRowClasses } from "../../src/cluster/coordinator/row-classes.ts";
import { type PipelineFacts, Serving } from "../../src/cluster/coordinator/serving.ts";
import { StageClient } from "../../src/cluster/coordinator/stage-client.ts";
import type { GenerateEvent, GenerateRequest } from "../../src/cluster/coordinator/index.ts";
import { bindStageService, connectHop } from "../../src/cluster/worker/stage-service.ts";
import { StageHost } from "../../src/cluster/worker/stage-host.ts";
import { must } from "../../src/common/index.ts";
import { createServer, type NoodleServer } from "../../src/net/index.ts";
import { CutModel } from "../model/cut.ts";
import { collect, type Generated } from "./fake-cluster.ts";
import { createRealEngine } from "./real-stage.ts";

/*
 * A pipeline of the real engine is gone in the middle of three generations, and another one, cut elsewhere, takes them
 * over from what the coordinator knows of them: tokens and notes.
 */

const VOCAB = 512;
const SLOTS = 4;
const CONTEXT_TOKENS = 256;
const MAX_ROWS = 64;

const tokenizer = {
  vocabSize: VOCAB,
  tokenize: (text: string) => Int32Array.from(Buffer.from(text)),
  pieceBytes: (id: number) => Uint8Array.of(0x20 + (id % 95)),
  isEndOfGeneration: () => false,
};

/** Stages in this process, each behind a gRPC server of its own. */
class Stages {
  readonly #hosts: StageHost[] = [];
  readonly #servers: NoodleServer[] = [];
  readonly #classes: string[] = [];
  #addresses: string[] = [];

  static async load(model: CutModel, epoch: number, split: readonly string[]): Promise<Stages> {
    const stages = new Stages();
    for (const index of split.keys()) {
      const host = new StageHost({
        nodeId: `n${index}`,
        engine: createRealEngine(model),
        startEngine: () => Promise.reject(new Error("one stage for each host")),
        connectHop: (address, signal) => connectHop(address, signal),
        nowMs: () => performance.now(),
        random: () => 0.5,
        onObservation: () => undefined,
      });
      const server = createServer({ services: [bindStageService(host)], port: 0, nodeId: `n${index}` });
      stages.#hosts.push(host);
      stages.#servers.push(server);
      stages.#addresses.push(`127.0.0.1:${await server.start()}`);
    }
    for (const [stage, host] of stages.#hosts.entries()) {
      const { rowClassesJson } = await host.load({
        epoch,
        stage,
        stageFile: must(split[stage], "units"),
        threads: 1,
        contextTokens: CONTEXT_TOKENS,
        parallel: SLOTS,
        maxRows: MAX_ROWS,
        nextAddress: stages.#addresses[stage + 1] ?? "",
        nextNodeId: stage + 1 < split.length ? `n${stage + 1}` : "",
        hooks: false,
      });
      stages.#classes.push(rowClassesJson);
    }
    return stages;
  }

  get sessions(): readonly number[] {
    return this.#hosts.map((host) => host.sessions);
  }

  get facts(): PipelineFacts {
    const classes = this.#classes.map((json) => must(readRowClasses(json), "row classes"));
    return { classes, kvBytesPerToken: 1, wanted: null };
  }

  async open(epoch: number, serving: Serving): Promise<Pipeline> {
    const pipeline = new Pipeline({
      epoch,
      stages: this.#addresses.map((address, index) => new StageClient({ id: `n${index}`, name: `n${index}`, address })),
      clock: MONOTONIC_CLOCK,
      stepTimeoutMs: 10_000,
      recorder: null,
      listener: {
        onRoom: () => serving.pump(epoch),
        onResult: (result) => serving.receive(epoch, result),
        onStepFailed: (step, fault) => serving.failStep(step, fault),
        onBroken: () => undefined,
      },
    });
    await pipeline.open(5000);
    return pipeline;
  }

  async close(): Promise<void> {
    for (const server of this.#servers) await server.close(0);
    for (const host of this.#hosts) await host.close();
  }
}

function createServing(): Serving {
  return new Serving({
    clock: MONOTONIC_CLOCK,
    tokenizer,
    contextTokens: CONTEXT_TOKENS,
    slots: SLOTS,
    maxRows: MAX_ROWS,
    determinism: "recorded",
    queue: { total: 16, perClient: 16 },
    prefixCacheBytes: 0,
    readerStallMs: 60_000,
    recoveryWaitMs: 60_000,
    wanted: { decodeInFlight: 1, prefillRows: null, mixedPrefillRows: null },
    recorder: null,
    cluster: {
      isHeld: () => false,
      refusal: () => null,
      opened: () => undefined,
      moved: () => undefined,
      closed: () => undefined,
      formerIdle: () => undefined,
      stageFailed: () => undefined,
      lastFault: () => null,
      describeStages: () => [],
    },
  });
}

let model: CutModel;
const closers: (() => Promise<void> | void)[] = [];
beforeAll(async () => {
  const shape = { architecture: "llama", layers: 3, embd: 256, heads: 4, kvHeads: 2, ff: 512, vocab: VOCAB };
  model = await CutModel.fromDummy({ ...shape, type: "q4_k_m", seed: 11, contextLength: CONTEXT_TOKENS });
});
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});
afterAll(() => model.remove());

it("sessions go on behind a lost pipeline, on stages that are cut elsewhere, with the same bits", async () => {
  const never = new AbortController().signal;
  const serving = createServing();
  closers.push(() => serving.stop());
  const first = await Stages.load(model, 1, ["0:2", "2:5"]);
  const lost = await first.open(1, serving);
  serving.open(lost, first.facts);
  let tokens = 0;
  let reached: () => void = () => undefined;
  const enough = new Promise<void>((resolve) => {
    reached = resolve;
  });
  const run = (request: GenerateRequest): Promise<Generated> => {
    const prompt = request.prompt as readonly number[];
    const counted = async function* (): AsyncGenerator<GenerateEvent> {
      for await (const event of serving.generate(request, prompt, never)) {
        if (event.type === "token") tokens += 1;
        if (tokens >= 40) reached();
        yield event;
      }
    };
    return collect(counted());
  };
  const requests = [70, 9, 30].map(
    (rows, index): GenerateRequest => ({
      prompt: Array.from({ length: rows }, (_, at) => 5 + ((at * 31 + index * 17) % (VOCAB - 5))),
      maxTokens: 40,
      sampling: { temperature: 0.8, topK: 40, topP: 1, minP: 0, repeatPenalty: 1.2, seed: index },
      wantLogits: true,
      wantKvHashes: true,
    }),
  );
  const running = requests.map(run);
  await Promise.race([enough, ...running]);
  lost.close();
  serving.close(lost);
  await first.close();
  const second = await Stages.load(model, 2, ["0:1", "1:3", "3:5"]);
  closers.push(() => second.close());
  const pipeline = await second.open(2, serving);
  closers.push(() => pipeline.close());
  const before = serving.describe().batches;
  serving.open(pipeline, second.facts);
  const disturbed = await Promise.all(running);
  const after = serving.describe().batches;
  // Filled in a few long steps, not one for each token.
  expect(after.prefill - before.prefill).toBeLessThan(40);
  expect(second.sessions).toEqual([0, 0, 0]);
  for (const [index, { tokens: said, logits, done }] of disturbed.entries()) {
    expect(said).toHaveLength(40);
    // Undisturbed: the notes of both parts together, computed in one go.
    const { arrange = done.notes, ...request } = must(requests[index], "request");
    const whole = await run({ ...request, arrange });
    expect(whole.tokens).toEqual(said);
    expect(whole.logits).toEqual(logits);
    expect(whole.done.kv).toEqual(done.kv);
  }
});
