/**
 * Entry of the engine thread. It sleeps in Atomics.wait and drains its port itself: a call reaches the engine without
 * a turn of this thread's event loop. Answers go back by postMessage, their buffers moved and not copied.
 */
import { type MessagePort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { collectGarbage, NoodleError } from "../../common/index.ts";
import type { LoadedEngine, Stage, StageConfig } from "../../engine/index.ts";
import { EmulatedSpeed } from "./emulated-speed.ts";
import type {
  EngineCall,
  EngineChoice,
  EngineKind,
  EngineReply,
  EngineRequest,
  ForwardOutput,
} from "./engine-messages.ts";

interface Answer {
  readonly value: unknown;
  readonly moved?: readonly ArrayBuffer[];
}

interface ThreadData {
  readonly port: MessagePort;
  /** i32[1]: counts messages sent to this thread. */
  readonly signal: SharedArrayBuffer;
}

const { port, signal } = workerData as ThreadData;
const counter = new Int32Array(signal);
let kind: EngineKind = "llama";
let stage: Stage | undefined;
let stageFile = "";
let cacheDirectory: string | undefined;
let closed = false;
let speed = new EmulatedSpeed(1, readNs);

while (!closed) {
  const seen = Atomics.load(counter, 0);
  let received = receiveMessageOnPort(port);
  while (received !== undefined && !closed) {
    const { id, call } = received.message as EngineRequest;
    try {
      const { value, moved } = await answer(call);
      port.postMessage({ id, ok: true, value } satisfies EngineReply, [...(moved ?? [])]);
    } catch (error) {
      port.postMessage({
        id,
        ok: false,
        error: NoodleError.from(error, "ENGINE_FAILED").toJSON(),
      } satisfies EngineReply);
    }
    received = receiveMessageOnPort(port);
  }
  if (!closed) Atomics.wait(counter, 0, seen);
}
port.close();

async function answer(call: EngineCall): Promise<Answer> {
  switch (call.type) {
    case "start":
      ({ kind, cacheDirectory } = call.choice);
      speed = new EmulatedSpeed(call.choice.emulatedSlowness ?? 1, readNs);
      return { value: await start(call.choice) };
    case "load":
      stage?.close();
      stage = undefined;
      stage = await open(call.config);
      stageFile = call.config.stageFile;
      collectGarbage();
      return { value: stage.info };
    case "probe": {
      const { threads } = loaded().info;
      if (kind === "fake") return { value: "" };
      const { probeRowClasses } = await import("../../engine/index.ts");
      const classes = await probeRowClasses(stageFile, threads, cacheDirectory);
      collectGarbage();
      return { value: JSON.stringify(classes) };
    }
    case "openSlot":
      return { value: loaded().openSlot(call.slot, call.sampling, call.start) };
    case "closeSlot":
      loaded().closeSlot(call.slot, call.keep);
      return { value: loaded().keptTokens(call.slot) };
    case "forward": {
      const { input, truncations, wantLogits, observe } = call;
      for (const { slot, position } of truncations) loaded().truncate(slot, position);
      const startNs = readNs();
      const output = loaded().forward(input, observe === null ? { wantLogits } : { wantLogits, observe });
      const computedNs = readNs();
      const endNs = speed.finish(startNs, computedNs);
      const hidden = output.hidden === null ? null : detachable(output.hidden);
      const value: ForwardOutput = {
        ...output,
        hidden,
        computeNs: output.computeNs + endNs - computedNs,
        startNs,
        endNs,
      };
      return { value, moved: hidden === null ? [] : [hidden.buffer] };
    }
    case "readKv":
      return { value: loaded().readKv(call.slot) };
    case "canary":
      return { value: loaded().canary() };
    case "close":
      stage?.close();
      stage = undefined;
      closed = true;
      return { value: undefined };
  }
}

async function start({ kind: engine, variant, directory }: EngineChoice): Promise<LoadedEngine> {
  if (engine === "fake") return { build: "fake", variant: "fake", devices: [] };
  const { loadEngine } = await import("../../engine/index.ts");
  // Its log goes to stderr, where the supervisor looks for the cause when the process dies.
  const options = { log: true, ...(variant === undefined ? {} : { variant }) };
  return loadEngine(directory === undefined ? options : { ...options, directory });
}

async function open(config: StageConfig): Promise<Stage> {
  const { FakeStage, openStage } = await import("../../engine/index.ts");
  return kind === "fake" ? FakeStage.open(config) : await openStage(config);
}

function readNs(): number {
  return Number(process.hrtime.bigint());
}

function loaded(): Stage {
  if (stage === undefined) throw new NoodleError("ILLEGAL_STATE", "the engine thread holds no stage");
  return stage;
}

/** The same values in a buffer that holds nothing else, so that moving it takes nothing from anybody. */
function detachable(values: Float32Array): Float32Array<ArrayBuffer> {
  const { buffer } = values;
  if (buffer instanceof ArrayBuffer && buffer.byteLength === values.byteLength)
    return values as Float32Array<ArrayBuffer>;
  return Float32Array.from(values);
}
