import { findLogChains } from "./log-chains.ts";
import { LogCounter, type LogSummary } from "./log-summary.ts";
import { mergeLogs, type MergeOptions } from "./merge-logs.ts";
import { type LogVisitor, visitRow } from "./row-records.ts";

/**
 * Reads all logs that files and folders hold, in the order of time, and gives every row to the visitor as the record
 * that it was written from. Memory is that of a few batches, whatever the size of the logs.
 *
 * @throws as `findLogChains` and `mergeLogs`
 */
export async function foldLogs(
  paths: readonly string[],
  visitor: LogVisitor,
  options: Omit<MergeOptions, "counter"> = {},
): Promise<LogSummary> {
  const counter = new LogCounter();
  for await (const rows of mergeLogs(await findLogChains(paths), { ...options, counter })) {
    for (const row of rows) visitRow(row, visitor);
  }
  return counter.summarise();
}
