import type { CounterChild, GaugeChild, Instruments } from "./instruments.ts";

/** CPU time and start of this process, read when somebody asks. */
export class ProcessMetrics {
  readonly #cpu: CounterChild | undefined;
  readonly #start: GaugeChild | undefined;
  #countedSeconds = 0;

  constructor(instruments: Instruments) {
    this.#cpu = instruments.counter("noodle_process_cpu_seconds_total").child();
    this.#start = instruments.gauge("noodle_process_start_time_seconds").child();
  }

  refresh(): void {
    const { user, system } = process.cpuUsage();
    const seconds = (user + system) / 1e6;
    this.#cpu?.inc(Math.max(0, seconds - this.#countedSeconds));
    this.#countedSeconds = seconds;
    this.#start?.set(performance.timeOrigin / 1000);
  }
}
