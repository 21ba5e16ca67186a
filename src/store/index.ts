export { CoordinatorState } from "./coordinator-state.ts";
export type { HashRow } from "./hash-rows.ts";
export type { Journal } from "./journal.ts";
export type { EventRow, OpenSession } from "./records.ts";
