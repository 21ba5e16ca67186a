import { median, must, NoodleError } from "../common/index.ts";
import type { CostModelDocument, CostTable } from "../profile/index.ts";

/**
 * One cost model of several of the same model, each cell the median of those that were measured.
 *
 * @param documents at least one; a cell may have been measured in some of them only
 * @throws NoodleError `PROFILE_MISMATCH` for documents of other classes
 */
export function mergeCosts(documents: readonly CostModelDocument[]): CostModelDocument {
  const first = must(documents[0], "cost model");
  if (documents.length === 1) return first;
  const middle = (of: (document: CostModelDocument) => number): number => median(documents.map(of));
  return {
    ...first,
    step_overhead_ms: {
      decode: middle((document) => document.step_overhead_ms.decode),
      prefill: middle((document) => document.step_overhead_ms.prefill),
    },
    classes: first.classes.map((one, index) => {
      const same = documents.map(({ classes }) => {
        const other = classes[index];
        if (other?.name === one.name) return other;
        throw new NoodleError("PROFILE_MISMATCH", `the profiles have other classes of units than "${one.name}"`);
      });
      return {
        ...one,
        decode: mergeTables(same.map(({ decode }) => decode)),
        prefill: mergeTables(same.map(({ prefill }) => prefill)),
      };
    }),
  };
}

function mergeTables(tables: readonly CostTable[]): CostTable {
  const collect = (of: (table: CostTable) => readonly number[]): readonly number[] =>
    [...new Set(tables.flatMap(of))].sort((a, b) => a - b);
  const rows = collect((table) => table.rows);
  const contexts = collect((table) => table.contexts);
  return {
    ...must(tables[0], "table"),
    rows,
    contexts,
    ms: rows.map((count) =>
      contexts.map((context) => {
        const cells = tables
          .map((table) => table.ms[table.rows.indexOf(count)]?.[table.contexts.indexOf(context)] ?? null)
          .filter((cell) => cell !== null);
        return cells.length === 0 ? null : median(cells);
      }),
    ),
  };
}
