import type { RequestRecord } from "../observe/index.ts";
import type { HistogramName } from "./definitions.ts";
import type { Instruments } from "./instruments.ts";

/** Counts a request that is over: how it ended, how long it was, and where its time went. */
export function countRequest(instruments: Instruments, end: Extract<RequestRecord, { type: "end" }>): void {
  const { monoNs, startMonoNs, firstStepMonoNs, firstTokenMonoNs, generatedTokens } = end;
  if (end.finishReason !== null) instruments.counter("noodle_request_success_total").child(end.finishReason)?.inc();
  else
    instruments
      .counter("noodle_request_failure_total")
      .child(end.errorCode ?? "INTERRUPTED")
      ?.inc();
  const add = (name: HistogramName, value: number): void => instruments.histogram(name).child()?.observe(value);
  const addTime = (name: HistogramName, fromNs: number | null, toNs: number | null): void => {
    if (fromNs !== null && toNs !== null) add(name, (toNs - fromNs) / 1e9);
  };
  add("noodle_request_prompt_tokens", end.promptTokens);
  add("noodle_request_generation_tokens", generatedTokens);
  addTime("noodle_e2e_request_latency_seconds", startMonoNs, monoNs);
  addTime("noodle_request_queue_time_seconds", startMonoNs, firstStepMonoNs);
  addTime("noodle_request_prefill_time_seconds", firstStepMonoNs, firstTokenMonoNs);
  addTime("noodle_time_to_first_token_seconds", startMonoNs, firstTokenMonoNs);
  addTime("noodle_request_decode_time_seconds", firstTokenMonoNs, monoNs);
  if (firstTokenMonoNs !== null && generatedTokens > 1) {
    const seconds = (monoNs - firstTokenMonoNs) / 1e9 / (generatedTokens - 1);
    add("noodle_request_time_per_output_token_seconds", seconds);
  }
  const gaps = instruments.histogram("noodle_inter_token_latency_seconds").child();
  for (const gapNs of end.interTokenNs) gaps?.observe(gapNs / 1e9);
}
