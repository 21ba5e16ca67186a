import type {
  ClusterObserver,
  EventRecord,
  LayerRecord,
  LinkRecord,
  ModelRecord,
  NodeRecord,
  PlanRecord,
  RequestRecord,
  StepRecord,
} from "../observe/index.ts";
import type { LogWriter } from "./log-writer.ts";
import {
  writeEventRow,
  writeLayerRows,
  writeLinkRow,
  writeNodeRow,
  writePlanRow,
  writeRequestRow,
  writeStepRow,
} from "./row-bodies.ts";

// About how long the lines come out: what the writer's queue counts before they are made.
const ROW_BYTES = 450;
const STAGE_BYTES = 140;
const SEGMENT_BYTES = 90;
const GAP_BYTES = 10;

export interface LogObserverOptions {
  /** Write the prompts that the records carry. @default false */
  readonly includeText?: boolean;
}

/** Writes what a cluster tells its observers as rows. Who made the writer closes it. */
export class LogObserver implements ClusterObserver {
  readonly #writer: LogWriter;
  readonly #includeText: boolean;

  constructor(writer: LogWriter, options: LogObserverOptions = {}) {
    this.#writer = writer;
    this.#includeText = options.includeText === true;
  }

  onRequest(record: RequestRecord): void {
    const row = writeRequestRow(record, this.#includeText);
    const extraBytes = row.event_type === "end" ? row.inter_token_ns.length * GAP_BYTES : (row.prompt?.length ?? 0);
    this.#writer.write("request", row, ROW_BYTES + extraBytes);
  }

  onStep(record: StepRecord): void {
    this.#writer.write("step", writeStepRow(record), ROW_BYTES + record.stages.length * STAGE_BYTES);
  }

  onLayer(record: LayerRecord): void {
    for (const row of writeLayerRows(record)) {
      this.#writer.write("layer", row, ROW_BYTES + row.segments.length * SEGMENT_BYTES);
    }
  }

  onLink(record: LinkRecord): void {
    this.#writer.write("link", writeLinkRow(record));
  }

  onNode(record: NodeRecord): void {
    this.#writer.write("node", writeNodeRow(record));
  }

  onModel({ sourceSha256, units }: ModelRecord): void {
    this.#writer.describe({ model: { sourceSha256, units } });
  }

  onPlan(record: PlanRecord): void {
    const row = writePlanRow(record);
    this.#writer.describe({ plan: { epoch: row.epoch, split: row.split, hash: row.hash } });
    this.#writer.write("plan", row);
  }

  onEvent(record: EventRecord): void {
    this.#writer.write("event", writeEventRow(record));
  }
}
