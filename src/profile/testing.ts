import type { HookLevel, Phase, Role } from "../observe/index.ts";
import { type DummyOptions, makeDummyHeader } from "../model/index.ts";
import { countWork, isPartOf, type RowRole, type WorkCell } from "./count-work.ts";
import { describeWork } from "./describe-work.ts";
import type { ModelWork, UnitWork } from "./model-work.ts";
import type { RawCell, RawProfile } from "./raw.ts";

/** A machine that does what the roofline says, for tests that know the truth. */
export interface RooflineMachine {
  readonly memoryGbPerS: number;
  readonly computeGflops: number;
  readonly cores: number;
  readonly threads: number;
  /** Of every role of every unit, beside bytes and arithmetic. */
  readonly operationMs: number;
  /** Of every synchronisation, inside its segment. */
  readonly syncMs: number;
  /** Of every callback, between segments. */
  readonly callbackMs: number;
  /** Of every step, outside the graph. */
  readonly outsideMs: number;
  /** Relative, of each sample, even on both sides. */
  readonly noise: number;
}

export const LAPTOP: RooflineMachine = {
  memoryGbPerS: 20,
  computeGflops: 200,
  cores: 8,
  threads: 8,
  operationMs: 0.001,
  syncMs: 0.004,
  callbackMs: 0.002,
  outsideMs: 0.05,
  noise: 0.01,
};

export interface Simulation {
  readonly model: DummyOptions;
  readonly machine?: Partial<RooflineMachine>;
  readonly level?: HookLevel;
  readonly cells?: readonly (readonly [phase: Phase, rows: number, context: number])[];
  readonly steps?: number;
  readonly units?: string;
  /** Units whose segments are there; the others are left to be inferred. @default all */
  readonly measured?: (unit: UnitWork) => boolean;
  readonly seed?: number;
}

export const USUAL_CELLS = [
  ["decode", 1, 0],
  ["decode", 1, 512],
  ["decode", 1, 2048],
  ["decode", 4, 0],
  ["decode", 4, 512],
  ["decode", 16, 0],
  ["prefill", 16, 0],
  ["prefill", 64, 0],
  ["prefill", 256, 0],
] as const;

const ROLES_OF_LEVEL: Readonly<Record<HookLevel, Readonly<Record<UnitWork["kind"], readonly RowRole[]>>>> = {
  layer: { embedding: ["total"], block: ["total"], head: ["total", "sampling"] },
  role: {
    embedding: ["embedding.token", "embedding.position"],
    block: ["norm", "attention", "mlp"],
    head: ["norm", "head", "sampling"],
  },
  node: {
    embedding: ["embedding.token", "embedding.position"],
    block: [
      "norm",
      "attention.qkv",
      "attention.rope",
      "attention.kv_write",
      "attention.scores",
      "attention.output",
      "mlp.gate",
      "mlp.up",
      "mlp.act",
      "mlp.down",
      "moe.router",
      "moe.experts",
      "residual",
    ],
    head: ["norm", "head", "sampling"],
  },
};

/** What a part really takes on the machine, hooks or not. */
export function trueMs(machine: RooflineMachine, unit: UnitWork, role: RowRole, cell: WorkCell): number {
  if (role === "total") {
    return ROLES_OF_LEVEL.role[unit.kind]
      .filter((part) => occurs(unit, part))
      .reduce((sum, part) => sum + trueMs(machine, unit, part, cell), 0);
  }
  const work = countWork(unit, role, cell);
  const memoryMs = work.bytesMoved / (machine.memoryGbPerS * 1e6);
  return Math.max(memoryMs, work.flops / (machine.computeGflops * 1e6)) + machine.operationMs;
}

export function simulateWork(model: DummyOptions): ModelWork {
  return describeWork(makeDummyHeader({ vocab: 8192, ...model }));
}

/** A profiling run on the machine, with noise and now and then a step that something else held up. */
export function simulateProfile(simulation: Simulation): RawProfile {
  const machine = { ...LAPTOP, ...simulation.machine };
  const work = simulateWork(simulation.model);
  const level = simulation.level ?? "role";
  const random = makeRandom(simulation.seed ?? 1);
  const cells = (simulation.cells ?? USUAL_CELLS).map(([phase, rows, context]) =>
    simulateCell(
      work,
      machine,
      simulation,
      level,
      { phase, rows, context, outputRows: phase === "decode" ? rows : 1 },
      random,
    ),
  );
  return {
    createdUnixMs: 1_790_000_000_000,
    noodlecoreVersion: "0.1.0",
    machine: {
      name: "laptop",
      platform: "linux-x64",
      cpu_model: "Roofline 9000",
      cores: machine.cores,
      cpu_features: ["avx2"],
      cache_bytes: { l1d: 32_768, l2: 1_048_576, l3: 8_388_608 },
      memory_total_bytes: 16 * 2 ** 30,
      memory_gb_per_s: machine.memoryGbPerS,
      memory_measured_by: "decree",
      compute_gflops: machine.computeGflops,
      compute_measured_by: "decree",
      engine_build: "b1",
      engine_variant: "haswell",
      device: "cpu",
    },
    model: {
      name: simulation.model.like ?? "dummy",
      architecture: work.architecture,
      header_sha256: "ab".repeat(32),
      path: null,
      file_bytes: 0,
      unit_count: work.units.length,
      embedding_length: work.units[0]?.hiddenWidth ?? 0,
      vocabulary: 8192,
      weight_type: simulation.model.type ?? "q4_0",
    },
    settings: {
      units: simulation.units ?? `0:${work.units.length}`,
      threads: machine.threads,
      level,
      prefill_rows: [16, 64, 256],
      decode_rows: [1, 4, 16],
      contexts: [0, 512, 2048],
      budget_ms: null,
      synthetic: false,
      synthetic_blocks: null,
    },
    partialReason: null,
    work,
    cells,
    skipped: [],
  };
}

function simulateCell(
  work: ModelWork,
  machine: RooflineMachine,
  { steps = 9, measured = () => true }: Simulation,
  level: HookLevel,
  cell: WorkCell,
  random: () => number,
): RawCell {
  const parts = work.units
    .filter(measured)
    .flatMap((unit) =>
      ROLES_OF_LEVEL[level][unit.kind].filter((role) => occurs(unit, role)).map((role) => ({ unit, role })),
    );
  // The finer the level, the more of the same work is told apart.
  const trueParts = parts.map(({ unit, role }) => {
    const ms = trueMs(machine, unit, role, cell);
    // Sampling has a segment of its own at every level.
    return role === "total" && unit.kind === "head" ? ms - trueMs(machine, unit, "sampling", cell) : ms;
  });
  const computeMs = trueParts.reduce((sum, ms) => sum + ms, 0);
  const shake = () => 1 + machine.noise * (2 * random() - 1);
  const segments = parts.map(({ unit, role }, index) => {
    const segmentsPerStep = role === "norm" && unit.kind === "block" ? 2 : 1;
    const ms = Array.from({ length: steps }, (_, step) => {
      const isHeldUp = index === 3 && step === 4;
      return (
        (trueParts[index] ?? 0) * shake() +
        (role === "sampling" ? 0 : machine.syncMs * segmentsPerStep) +
        (isHeldUp ? 5 : 0)
      );
    });
    return { unit: unit.unit, role, ms, segmentsPerStep };
  });
  const count = segments.reduce((sum, segment) => sum + segment.segmentsPerStep, 0);
  const hookMs = Array.from({ length: steps }, () => machine.callbackMs * count + machine.outsideMs);
  return {
    ...cell,
    stepMs: hookMs.map((hook, step) => segments.reduce((sum, segment) => sum + (segment.ms[step] ?? 0), hook)),
    stepOffMs: Array.from({ length: steps }, () => computeMs * shake() + machine.outsideMs),
    hookMs,
    outsideMs: Array.from({ length: steps }, () => machine.outsideMs),
    otherMs: Array.from({ length: steps }, () => 0),
    segments,
  };
}

function occurs(unit: UnitWork, role: RowRole): boolean {
  if (role === "total" || role === "attention" || role === "sampling") return true;
  const withoutWeights: readonly Role[] = ["attention.kv_write", "attention.scores", "mlp.act", "residual"];
  if (withoutWeights.includes(role as Role)) return role !== "mlp.act" || unit.experts === null;
  if (role === "attention.rope") return unit.attention?.rotary === true;
  return unit.tensors.some((tensor) => isPartOf(tensor.role, role));
}

/** Park and Miller's generator: enough for noise. */
export function makeRandom(seed: number): () => number {
  let state = (seed * 48_271) % 2_147_483_647;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}
