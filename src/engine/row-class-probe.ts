import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type GgufHeader, openGguf } from "../gguf/index.ts";
import {
  type AttentionShape,
  type DummyOptions,
  generateDummy,
  readAttentionShape,
  readStageManifest,
} from "../model/index.ts";
import { LlamaStage } from "./llama-stage.ts";
import { loadLibrary } from "./native/index.ts";
import { readStageFacts } from "./read-stage-facts.ts";
import { type AttentionRule, type ClassTable, fitRowRule, type RowClasses } from "../schedule/index.ts";
import { GREEDY, type StageInput } from "./types.ts";

export interface ProbeRequest {
  /** Weight type of the block's matrices, by ggml's name. */
  readonly type: string;
  /** Feed-forward by experts, whose matrices are multiplied by other kernels. */
  readonly experts: boolean;
}

/** Row counts that the weights' table is measured at: both sides of every group size and threshold that kernels use. */
const WEIGHT_ROWS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 15, 16, 17, 20, 31, 32, 33, 63];
/** Candidates for the smallest call that takes the tiled attention kernel. */
const TILED_ROWS = [2, 4, 8, 16, 31, 32, 33, 48, 63, 64, 65, 96, 128];
const CELL_STEP = 256;
/** Positions whose attention sees 1, 2 and 3 steps of cells. */
const SPLIT_POSITIONS = [100, 300, 600];

/**
 * Measures what a row's bits depend on for the weight types and head shape of a stage file, with this build and CPU, on
 * models of one small block of random weights (the choice of kernel does not look at values). Takes some tenths of a
 * second and a few megabytes in the system's folder for temporary files.
 *
 * @param cacheFolder keeps results for the next start with the same build, CPU, weight types and head shape
 */
export async function probeRowClasses(stageFile: string, threads: number, cacheFolder?: string): Promise<RowClasses> {
  const file = await openGguf(stageFile);
  await file.close();
  const { build, variant } = loadLibrary();
  const subject = [build, variant, cpus()[0]?.model, listWeightTypes(file.header), readAttentionShape(file.header)];
  const name = `row-classes-${createHash("sha256").update(JSON.stringify(subject)).digest("hex").slice(0, 32)}.json`;
  const path = cacheFolder === undefined ? undefined : join(cacheFolder, name);
  const known = path === undefined ? undefined : await readKnown(path);
  if (known !== undefined) return { ...known, threads };
  const classes = await measureRowClasses(file.header, threads);
  if (path !== undefined) await keep(path, classes);
  return classes;
}

/** A file that is not there, or does not hold what it should, is as good as none: the probe runs. */
async function readKnown(path: string): Promise<RowClasses | undefined> {
  try {
    const known = JSON.parse(await readFile(path, "utf8")) as Partial<RowClasses>;
    return known.schema === "noodle.row_classes.v1" && known.weights !== undefined ? (known as RowClasses) : undefined;
  } catch {
    return undefined;
  }
}

async function keep(path: string, classes: RowClasses): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const temporary = `${path}.${process.pid}.tmp`;
  await writeFile(temporary, JSON.stringify(classes));
  await rename(temporary, path);
}

async function measureRowClasses(header: GgufHeader, threads: number): Promise<RowClasses> {
  const startMs = performance.now();
  const library = loadLibrary();
  const requests = listWeightTypes(header);
  const folder = await mkdtemp(join(tmpdir(), "noodle-probe-"));
  try {
    const weights = [];
    for (const request of requests) {
      const table = await withProbe(
        folder,
        header,
        request,
        { parallel: 64, contextTokens: CELL_STEP, threads: 1 },
        measureWeights,
      );
      weights.push({ ...request, rule: fitRowRule(table) });
    }
    // Attention is told apart from the weights by a type whose rows never change with the call.
    const neutral = weights.find(({ rule, experts }) => rule.kind === "uniform" && !experts)?.type ?? "q8_0";
    const attention = await measureAttention(folder, header, neutral);
    return {
      schema: "noodle.row_classes.v1",
      engine_build: library.build,
      cpu_variant: library.variant,
      threads,
      probe_ms: performance.now() - startMs,
      weights,
      attention,
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The weight types of the matrices that rows are multiplied by, each once. */
export function listWeightTypes(header: GgufHeader): readonly ProbeRequest[] {
  const found = new Map<string, ProbeRequest>();
  const head = findHeadMatrix(header);
  for (const { name, dims, type } of header.tensors) {
    const isBlock = name.startsWith("blk.") && name.endsWith(".weight") && !name.includes("ffn_gate_inp");
    if ((!isBlock && name !== head) || dims.length < 2) continue;
    const request = { type: type.name, experts: dims.length === 3 };
    found.set(`${request.type} ${request.experts}`, request);
  }
  return [...found.values()];
}

/** Name of the matrix that gives logits; undefined in a stage without head. */
function findHeadMatrix(header: GgufHeader): string | undefined {
  const manifest = readStageManifest(header);
  if (manifest !== null && manifest.units.end < manifest.unitCount) return undefined;
  const own = header.tensors.some(({ name }) => name === "output.weight");
  return own ? "output.weight" : "token_embd.weight";
}

interface ProbeConfig {
  readonly parallel: number;
  readonly contextTokens: number;
  readonly threads: number;
}

/** Makes a one-block model, runs `measure` on its embedding and block, and removes it. */
async function withProbe<T>(
  folder: string,
  like: GgufHeader,
  request: ProbeRequest,
  config: ProbeConfig,
  measure: (stage: LlamaStage) => T,
): Promise<T> {
  const path = join(folder, `${request.type}-${request.experts}.gguf`);
  await generateDummy(probeModel(request, readAttentionShape(like)), path);
  const file = await openGguf(path);
  await file.close();
  const whole = readStageFacts(file.header, file.fileBytes);
  // The whole model is loaded, and stopped behind its block.
  const facts = { ...whole, units: { first: 0, end: 2 }, hasHead: false, endsBlocks: false };
  const stage = new LlamaStage({ stageFile: path, maxRows: 128, ...config }, facts);
  try {
    return measure(stage);
  } finally {
    stage.close();
  }
}

/** One block, as small as the weight type allows, with the heads' size and sharing of the model it stands for. */
function probeModel(request: ProbeRequest, shape: AttentionShape): DummyOptions {
  // The rows of the attention's output matrix must hold whole blocks of every type, which are up to 256 wide.
  let heads = 2;
  while ((heads * shape.headSize) % 256 !== 0) heads++;
  return {
    architecture: "llama",
    layers: 1,
    embd: 256,
    heads,
    kvHeads: shape.groupSize > 1 && heads % 2 === 0 ? heads / 2 : heads,
    headSize: shape.headSize,
    ff: 256,
    vocab: 300,
    experts: request.experts ? 4 : 0,
    tied: true,
    type: request.type,
    contextLength: 768,
  };
}

/** Rows of different sequences, one each, all at position 0: attention sees one cell, so only the weights' kernels differ. */
function measureWeights(stage: LlamaStage): ClassTable {
  const alone: string[] = [];
  const seen: Map<string, number>[] = [];
  const table = new Map<number, readonly number[]>();
  for (const rows of WEIGHT_ROWS) {
    const bits = forwardRows(stage, rows);
    table.set(
      rows,
      bits.map((value, place) => {
        // The row at a place has the same content in every call; class 0 is its result alone.
        alone[place] ??= forwardAlone(stage, place);
        seen[place] ??= new Map([[alone[place], 0]]);
        const classes = seen[place];
        if (!classes.has(value)) classes.set(value, classes.size);
        return classes.get(value) ?? -1;
      }),
    );
  }
  return table;
}

function tokenAt(place: number): number {
  return 3 + ((place * 37) % 251);
}

function forwardRows(stage: LlamaStage, rows: number): string[] {
  const places = Array.from({ length: rows }, (_, place) => place);
  for (const slot of places) stage.openSlot(slot, GREEDY);
  const input: StageInput = {
    runs: places.map((slot) => ({ slot, position: 0, rows: 1, output: "none" })),
    tokens: Int32Array.from(places, tokenAt),
    hidden: null,
  };
  return readRows(stage, input);
}

function forwardAlone(stage: LlamaStage, place: number): string {
  stage.openSlot(0, GREEDY);
  return (
    readRows(stage, {
      runs: [{ slot: 0, position: 0, rows: 1, output: "none" }],
      tokens: Int32Array.of(tokenAt(place)),
      hidden: null,
    })[0] ?? ""
  );
}

/** Bits of each row that leaves the block. */
function readRows(stage: LlamaStage, input: StageInput): string[] {
  const { hidden } = stage.forward(input);
  const bytes = Buffer.from((hidden as Float32Array).buffer);
  const rowBytes = stage.info.nEmbd * 4;
  return input.tokens.length === 0
    ? []
    : Array.from(input.tokens, (_token, row) =>
        bytes.subarray(row * rowBytes, (row + 1) * rowBytes).toString("latin1"),
      );
}

async function measureAttention(folder: string, like: GgufHeader, type: string): Promise<AttentionRule> {
  const config = { parallel: 1, contextTokens: 768 };
  const request = { type, experts: false };
  const single = await withProbe(folder, like, request, { ...config, threads: 1 }, (stage) => ({
    tiledRows: findTiledRows(stage),
    rows: rowsAlone(stage, SPLIT_POSITIONS),
  }));
  const double = await withProbe(folder, like, request, { ...config, threads: 2 }, (stage) =>
    rowsAlone(stage, SPLIT_POSITIONS),
  );
  const split = SPLIT_POSITIONS.findIndex((_, i) => single.rows[i] !== double[i]);
  const position = SPLIT_POSITIONS[split];
  return {
    tiledRows: single.tiledRows,
    splitCells: position === undefined ? null : Math.ceil((position + 1) / CELL_STEP) * CELL_STEP,
    cellStep: CELL_STEP,
  };
}

/** Smallest call whose first row differs from the row computed in a small call; searched between the candidates. */
function findTiledRows(stage: LlamaStage): number | null {
  const differs = (rows: number): boolean => prefill(stage, rows).slice(0, 2).join() !== prefill(stage, 2).join();
  const index = TILED_ROWS.findIndex(differs);
  if (index < 0) return null;
  let low = index === 0 ? 1 : (TILED_ROWS[index - 1] as number);
  let high = TILED_ROWS[index] as number;
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (differs(middle)) high = middle;
    else low = middle;
  }
  return high;
}

function prefill(stage: LlamaStage, rows: number): string[] {
  stage.openSlot(0, GREEDY);
  return readRows(stage, runOf(0, rows));
}

/** The rows at the positions, ascending, each computed alone behind a context that is the same for every number of threads. */
function rowsAlone(stage: LlamaStage, positions: readonly number[]): string[] {
  stage.openSlot(0, GREEDY);
  return positions.map((position) => {
    for (let at = stage.nextPosition(0); at < position; at = stage.nextPosition(0))
      stage.forward(runOf(at, Math.min(50, position - at)));
    return readRows(stage, runOf(position, 1))[0] ?? "";
  });
}

function runOf(position: number, rows: number): StageInput {
  return {
    runs: [{ slot: 0, position, rows, output: "none" }],
    tokens: Int32Array.from({ length: rows }, (_, i) => tokenAt(position + i)),
    hidden: null,
  };
}
