export { OtlpTelemetry, type OtlpTelemetryOptions } from "./otlp-telemetry.ts";
export { readOtlpUrl } from "./otlp-url.ts";
