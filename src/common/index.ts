export { type BusyReading, BusyWindow } from "./busy-window.ts";
export { collectGarbage } from "./collect-garbage.ts";
export { ERROR_CODES, type ErrorCode, type ErrorCodeRow } from "./error-codes.ts";
export { resolveEntry } from "./resolve-entry.ts";
export { median, quantile, sum } from "./statistics.ts";
export { must, NoodleError, type NoodleErrorOptions } from "./errors.ts";
