import type { Batch, BatchPool } from "./batch.ts";
import type { EventHeap } from "./event-heap.ts";
import { EVENT } from "./events.ts";
import type { Hop } from "./hop.ts";
import type { NodeState } from "./node-state.ts";
import type { SimObserver } from "./observer.ts";
import type { PipelineState, StageState } from "./pipeline-state.ts";
import type { LinkState } from "./link-state.ts";

/** How micro-batches get through stages and links. */
export class DataPath {
  readonly #heap: EventHeap;
  readonly #pool: BatchPool;
  readonly #observer: SimObserver;

  constructor(heap: EventHeap, pool: BatchPool, observer: SimObserver) {
    this.#heap = heap;
    this.#pool = pool;
    this.#observer = observer;
  }

  /** A batch leaves the coordinator, which has room for it. */
  depart(pipeline: PipelineState, batch: Batch, nowMs: number): void {
    batch.pipeline = pipeline;
    batch.stage = 0;
    pipeline.depart(batch);
    this.#send(batch, firstStage(pipeline).hop, nowMs);
  }

  receive(batch: Batch, nowMs: number): void {
    const stage = stageOf(batch);
    const { node } = stage;
    batch.receivedMs = nowMs;
    if (node.current === null && !node.down) this.#start(batch, stage, nowMs);
    else node.queue.push(batch);
  }

  /** @returns false where the node had failed: the batch is lost */
  computed(batch: Batch, nowMs: number): boolean {
    const stage = stageOf(batch);
    const { node } = stage;
    if (node.current !== batch) return false;
    node.current = null;
    if (this.#observer.onService !== undefined) this.#show(batch, stage, nowMs);
    if (batch.pipeline?.alive === true) this.#passOn(batch, stage, nowMs);
    this.resume(node, nowMs);
    return true;
  }

  /** The node computes what waits for it. */
  resume(node: NodeState, nowMs: number): void {
    if (node.current !== null || node.down) return;
    const next = node.queue.shift();
    if (next !== undefined) this.#start(next, stageOf(next), nowMs);
  }

  /** What was in flight counts no more. Batches of which an event is still to come are given back by it. */
  abandon(pipeline: PipelineState): void {
    for (const { node, hop } of pipeline.stages) {
      hop.held.length = 0;
      const others = node.queue.filter((batch) => batch.pipeline !== pipeline);
      node.queue.splice(0, node.queue.length, ...others);
    }
    for (const batch of pipeline.inFlight) if (!batch.pending) this.#pool.give(batch);
    pipeline.inFlight.length = 0;
  }

  #start(batch: Batch, stage: StageState, nowMs: number): void {
    const { node } = stage;
    const endMs = node.finish(nowMs, stage.predictMs(batch));
    node.current = batch;
    node.busyMs += endMs - nowMs;
    stage.busyMs += endMs - nowMs;
    stage.batches += 1;
    stage.rows += batch.rows;
    batch.startMs = nowMs;
    this.#push(endMs, EVENT.computed, batch);
  }

  #passOn(batch: Batch, stage: StageState, nowMs: number): void {
    const pipeline = batch.pipeline as PipelineState;
    const next = pipeline.stages[stage.index + 1];
    if (next === undefined) {
      batch.stage += 1;
      batch.computedMs = nowMs;
      const { results, spec } = pipeline;
      const arrivalMs = results.send(nowMs, spec.resultBytesPerFrame + batch.outputRows * spec.resultBytesPerRow);
      this.#push(arrivalMs, EVENT.result, batch);
      if (this.#observer.onTransfer !== undefined) this.#showTransfer(batch, results, arrivalMs);
      this.#makeRoom(pipeline, stage, nowMs);
    } else if (next.hop.open && next.hop.held.length === 0) this.#cross(batch, next, next.hop.findDeparture(nowMs));
    else next.hop.held.push(batch);
  }

  #cross(batch: Batch, next: StageState, atMs: number): void {
    batch.stage += 1;
    this.#send(batch, next.hop, atMs);
    const pipeline = batch.pipeline as PipelineState;
    this.#makeRoom(pipeline, pipeline.stages[next.index - 1] as StageState, atMs);
  }

  /** The stage has passed a batch on: whoever sends to it may send one more. */
  #makeRoom(pipeline: PipelineState, stage: StageState, atMs: number): void {
    const roomMs = stage.hop.pass(atMs);
    if (stage.index === 0) this.#heap.push(roomMs, EVENT.room, pipeline.index);
    const held = stage.hop.held.shift();
    if (held !== undefined) this.#cross(held, stage, stage.hop.findDeparture(atMs));
  }

  #send(batch: Batch, hop: Hop, atMs: number): void {
    const arrivalMs = hop.send(batch, atMs);
    this.#push(arrivalMs, EVENT.receive, batch);
    if (this.#observer.onTransfer !== undefined) this.#showTransfer(batch, hop.link, arrivalMs);
  }

  #push(atMs: number, kind: number, batch: Batch): void {
    batch.pending = true;
    this.#heap.push(atMs, kind, batch.id);
  }

  #show(batch: Batch, stage: StageState, endMs: number): void {
    this.#observer.onService?.({
      pipeline: (batch.pipeline as PipelineState).index,
      stage: stage.index,
      node: stage.node.id,
      units: stage.spec,
      startMs: batch.startMs,
      endMs,
      queueMs: batch.startMs - batch.receivedMs,
      phase: batch.phase,
      rows: batch.rows,
      outputRows: batch.outputRows,
      context: meanContext(batch),
      sessions: batch.sessions.map(({ id }) => id),
    });
  }

  #showTransfer(batch: Batch, link: LinkState, arrivedMs: number): void {
    this.#observer.onTransfer?.({
      pipeline: (batch.pipeline as PipelineState).index,
      from: link.from,
      to: link.to,
      startMs: link.startMs,
      leftMs: link.leftMs,
      arrivedMs,
      bytes: link.messageBytes,
      phase: batch.phase,
      rows: batch.rows,
    });
  }
}

/** Over all engine calls that it takes. */
function meanContext({ callRows, callContexts }: Batch): number {
  let rows = 0;
  let positions = 0;
  for (const [call, count] of callRows.entries()) {
    rows += count;
    positions += count * (callContexts[call] ?? 0);
  }
  return rows === 0 ? 0 : positions / rows;
}

function stageOf(batch: Batch): StageState {
  return (batch.pipeline as PipelineState).stages[batch.stage] as StageState;
}

function firstStage(pipeline: PipelineState): StageState {
  return pipeline.stages[0] as StageState;
}
