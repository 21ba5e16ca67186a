export { type ChromeEvent, type ChromeTrace, writeChromeTrace } from "./chrome.ts";
export { countMissingLayers, TraceCollector, type TraceCollectorOptions } from "./collector.ts";
export { MAX_TRACE_CHARS, readRequestTrace } from "./read-trace.ts";
export { type RequestTrace, RequestTraceSchema, type TraceLayers, type TraceStage, type TraceStep } from "./schema.ts";
export { type PhaseSummary, type StageSummary, summarizeTrace, type TraceSummary } from "./summary.ts";
