import type { Phase, WorkerSnapshot, WorkerTotals } from "../observe/index.ts";
import type { BuildInfo } from "./build-info.ts";
import { Instruments } from "./instruments.ts";
import { ProcessMetrics } from "./process-metrics.ts";
import type { CounterName } from "./definitions.ts";

/** A worker's `/metrics`, read from its supervisor when somebody asks. */
export class WorkerMetrics {
  readonly #instruments = new Instruments("worker");
  readonly #process: ProcessMetrics;
  readonly #read: () => WorkerSnapshot;
  readonly #counted = new Map<string, number>();

  constructor(read: () => WorkerSnapshot, build: BuildInfo) {
    this.#read = read;
    this.#process = new ProcessMetrics(this.#instruments);
    this.#instruments.gauge("noodle_build_info").child(build.noodlecoreVersion, build.engineBuild, "worker")?.set(1);
  }

  get contentType(): string {
    return this.#instruments.contentType;
  }

  /** All metrics in Prometheus' text format. */
  render(): Promise<string> {
    this.#process.refresh();
    const snapshot = this.#read();
    this.#showState(snapshot);
    if (snapshot.totals !== null) this.#count(snapshot.totals);
    this.#add("noodle_worker_host_restarts_total", [], snapshot.hostRestarts);
    this.#add("noodle_worker_observations_dropped_total", [], snapshot.observationsDropped);
    return this.#instruments.render();
  }

  #showState(snapshot: WorkerSnapshot): void {
    const gauge = this.#instruments.gauge.bind(this.#instruments);
    const { nodeId, stage } = snapshot;
    gauge("noodle_process_resident_memory_bytes").child(nodeId, "supervisor")?.set(snapshot.supervisorRssBytes);
    gauge("noodle_process_resident_memory_bytes").child(nodeId, "stage_host")?.set(snapshot.hostRssBytes);
    gauge("noodle_worker_registered")
      .child()
      ?.set(snapshot.registered ? 1 : 0);
    gauge("noodle_worker_sessions").child()?.set(snapshot.sessions);
    gauge("noodle_worker_epoch")
      .child()
      ?.set(stage?.epoch ?? 0);
    gauge("noodle_worker_weights_bytes")
      .child()
      ?.set(stage?.weightsBytes ?? 0);
    gauge("noodle_worker_kv_bytes")
      .child()
      ?.set(stage?.kvBytes ?? 0);
    gauge("noodle_worker_compute_buffer_bytes")
      .child()
      ?.set(stage?.computeBytes ?? 0);
    const info = gauge("noodle_worker_stage_info");
    info.clear();
    if (stage !== null) info.child(String(stage.stage), stage.units)?.set(stage.ready ? 1 : 0);
  }

  #count(totals: WorkerTotals): void {
    for (const phase of ["prefill", "decode"] as const satisfies readonly Phase[]) {
      const of = totals[phase];
      this.#add("noodle_worker_steps_total", [phase], of.steps);
      this.#add("noodle_worker_rows_total", [phase], of.rows);
      this.#add("noodle_worker_compute_seconds_total", [phase], of.computeNs, 1e9);
      this.#add("noodle_worker_queue_seconds_total", [phase], of.queueNs, 1e9);
      this.#add("noodle_worker_serialize_seconds_total", [phase], of.serializeNs, 1e9);
    }
    this.#add("noodle_worker_received_bytes_total", [], totals.bytesIn);
    this.#add("noodle_worker_sent_bytes_total", [], totals.bytesOut);
    this.#add("noodle_worker_failed_steps_total", [], totals.failedSteps);
  }

  /** Adds what came since the last time. A total that fell is that of a new host, which began at zero. */
  #add(name: CounterName, labels: readonly string[], total: number, perUnit = 1): void {
    const key = [name, ...labels].join(" ");
    const before = this.#counted.get(key) ?? 0;
    this.#counted.set(key, total);
    const added = total < before ? total : total - before;
    this.#instruments
      .counter(name)
      .child(...labels)
      ?.inc(added / perUnit);
  }
}
