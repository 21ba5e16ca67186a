import type { ServiceSlice, SimObserver, TransferSlice } from "./observer.ts";
import { COORDINATOR, type Incident } from "./types.ts";

/** An event of the Trace Event Format; `ts` and `dur` in microseconds. */
export interface ChromeTraceEvent {
  readonly name: string;
  readonly ph: "X" | "M" | "b" | "e" | "i";
  readonly pid: number;
  readonly tid: number;
  readonly ts: number;
  readonly dur?: number;
  readonly cat?: string;
  readonly id?: string;
  readonly s?: "g";
  readonly args?: Readonly<Record<string, unknown>>;
}

const REQUESTS_PID = 1;
const STAGES_PID = 2;
const LINKS_PID = 3;
const MOST_EVENTS = 200_000;

/**
 * Draws a simulation as a Chrome trace: a lane for each stage, two for each link (bytes leave; they are on their way),
 * and a span for each request. What comes after the first `mostEvents` is counted and left out.
 */
export class ChromeRecorder implements SimObserver {
  readonly #most: number;
  readonly #events: ChromeTraceEvent[] = [];
  readonly #lanes = new Map<string, { readonly pid: number; readonly tid: number }>();
  #leftOut = 0;

  constructor(mostEvents: number = MOST_EVENTS) {
    this.#most = mostEvents;
  }

  onService({ pipeline, stage, node, units, startMs, endMs, phase, rows, sessions }: ServiceSlice): void {
    const name = `${pipeline > 0 ? `plan ${pipeline} ` : ""}stage ${stage} on ${node}`;
    const lane = this.#lane(STAGES_PID, name);
    const args = { rows, units: `${units.first}:${units.end}`, requests: sessions };
    this.#slice(`${phase} x${rows}`, lane, startMs, endMs, args);
  }

  onTransfer({ from, to, startMs, leftMs, arrivedMs, phase, rows }: TransferSlice): void {
    const name = `${from === COORDINATOR ? "coordinator" : from} to ${to === COORDINATOR ? "coordinator" : to}`;
    this.#slice(`${phase} x${rows}`, this.#lane(LINKS_PID, name), startMs, leftMs, {});
    this.#slice("on its way", this.#lane(LINKS_PID, `${name}, latency`), leftMs, arrivedMs, {});
  }

  onArrival(request: number, atMs: number): void {
    this.#span("b", request, "request", atMs);
  }

  onEnd(request: number, atMs: number, how: "finished" | "refused"): void {
    this.#span("e", request, "request", atMs, { how });
  }

  onToken(request: number, index: number, atMs: number): void {
    if (index > 0) return;
    this.#add({ name: `first token of r${request}`, ph: "i", s: "g", ...this.#request(), ts: toUs(atMs) });
  }

  onIncident(incident: Incident, what: string, atMs: number): void {
    const name = incident.type === "fail" ? `${incident.node} fails: ${what}` : `new plan: ${what}`;
    this.#add({ name, ph: "i", s: "g", ...this.#request(), ts: toUs(atMs) });
  }

  /** @returns what ui.perfetto.dev and chrome://tracing open */
  finish(): { readonly traceEvents: readonly ChromeTraceEvent[]; readonly otherData: { readonly left_out: number } } {
    const names = [
      { pid: REQUESTS_PID, name: "requests" },
      { pid: STAGES_PID, name: "stages" },
      { pid: LINKS_PID, name: "links" },
    ].map(({ pid, name }): ChromeTraceEvent => ({ name: "process_name", ph: "M", pid, tid: 0, ts: 0, args: { name } }));
    const lanes = [...this.#lanes].map(([key, { pid, tid }]): ChromeTraceEvent => {
      const name = key.slice(key.indexOf(" ") + 1);
      return { name: "thread_name", ph: "M", pid, tid, ts: 0, args: { name } };
    });
    return { traceEvents: [...names, ...lanes, ...this.#events], otherData: { left_out: this.#leftOut } };
  }

  #request(): { readonly pid: number; readonly tid: number } {
    return { pid: REQUESTS_PID, tid: 0 };
  }

  #span(ph: "b" | "e", request: number, name: string, atMs: number, args: object = {}): void {
    this.#add({ name, ph, cat: "request", id: `r${request}`, ...this.#request(), ts: toUs(atMs), args: { ...args } });
  }

  #slice(
    name: string,
    lane: { readonly pid: number; readonly tid: number },
    startMs: number,
    endMs: number,
    args: Readonly<Record<string, unknown>>,
  ): void {
    this.#add({ name, ph: "X", ...lane, ts: toUs(startMs), dur: toUs(endMs - startMs), args });
  }

  #lane(pid: number, name: string): { readonly pid: number; readonly tid: number } {
    const key = `${pid} ${name}`;
    let lane = this.#lanes.get(key);
    if (lane === undefined) {
      lane = { pid, tid: this.#lanes.size + 1 };
      this.#lanes.set(key, lane);
    }
    return lane;
  }

  #add(event: ChromeTraceEvent): void {
    if (this.#events.length < this.#most) this.#events.push(event);
    else this.#leftOut += 1;
  }
}

/** Exact to the ns. */
function toUs(ms: number): number {
  return Math.round(ms * 1e6) / 1000;
}
