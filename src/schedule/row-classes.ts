/**
 * Row classes: what a row's bits depend on besides its own content. The engine's CPU kernels choose another order of
 * summation by the number of rows in a call and, for some weight types, by a row's place among them. Pure: the probe
 * measures, this module says what the measurements mean.
 */

/** A rule that gives the class of a row from how it was computed. Class 0 is that of a row computed alone. */
export type RowRule =
  /** Never depends on the call. */
  | { readonly kind: "uniform" }
  /** Class 1 in calls of `rows` rows or more. */
  | { readonly kind: "rows-at-least"; readonly rows: number }
  /** Class 1 where the row stands in a full group: place < group * floor(rows / group). */
  | { readonly kind: "full-groups"; readonly group: number }
  /** Nothing simpler fits: the measured table, `classes[rows][place]` for each measured number of rows. */
  | { readonly kind: "table"; readonly classes: Readonly<Record<string, readonly number[]>> };

/** Measured classes: for a number of rows, the class of each place. */
export type ClassTable = ReadonlyMap<number, readonly number[]>;

export interface AttentionRule {
  /** Rows in runs of this many rows or more take another kernel (class); null when none was found up to the largest call. */
  readonly tiledRows: number | null;
  /** One row alone over this many cells or more depends on the number of threads; null when it never does. */
  readonly splitCells: number | null;
  /** Cells come in steps of this many. */
  readonly cellStep: number;
}

export interface RowClasses {
  readonly schema: "noodle.row_classes.v1";
  readonly engine_build: string;
  readonly cpu_variant: string;
  readonly threads: number;
  readonly probe_ms: number;
  /** One entry for each weight type of the matrices of the blocks, and of the head where the stage holds it. */
  readonly weights: readonly { readonly type: string; readonly experts: boolean; readonly rule: RowRule }[];
  readonly attention: AttentionRule;
}

/**
 * Finds the simplest rule under which rows of equal class had equal bits. It may tell more classes apart than were seen:
 * rows of different classes can agree by chance.
 */
export function fitRowRule(table: ClassTable): RowRule {
  const fits = (rule: RowRule): boolean => {
    // At one place the content was always the same, so there measured classes can be compared.
    const measured = new Map<string, number>();
    return [...table].every(([rows, classes]) =>
      classes.every((value, place) => {
        const key = `${place}:${classOfRow(rule, rows, place)}`;
        if (!measured.has(key)) measured.set(key, value);
        return measured.get(key) === value;
      }),
    );
  };
  const candidates: RowRule[] = [{ kind: "uniform" }];
  for (let n = 2; n <= 64; n++) candidates.push({ kind: "rows-at-least", rows: n });
  for (let n = 2; n <= 32; n++) candidates.push({ kind: "full-groups", group: n });
  return (
    candidates.find(fits) ?? {
      kind: "table",
      classes: Object.fromEntries([...table].map(([rows, classes]) => [String(rows), classes])),
    }
  );
}

/** Class of the row at `place` in a call of `rows` rows; -1 where a table has no entry. */
export function classOfRow(rule: RowRule, rows: number, place: number): number {
  switch (rule.kind) {
    case "uniform":
      return 0;
    case "rows-at-least":
      return rows >= rule.rows ? 1 : 0;
    case "full-groups":
      return place < rule.group * Math.floor(rows / rule.group) ? 1 : 0;
    case "table":
      return rule.classes[String(rows)]?.[place] ?? -1;
  }
}

/** How one row was computed. */
export interface RowCircumstance {
  /** Rows of the call, of all its runs and dummy rows, and the row's place among them. */
  readonly rows: number;
  readonly place: number;
  /** Rows of its own run: attention is computed for each sequence by itself. @default rows */
  readonly runRows?: number;
  /** KV cells that attention saw: positions rounded up to the cell step. */
  readonly cells: number;
  readonly threads: number;
}

/**
 * The class of a position: equal keys mean equal bits for equal content. A key, not a number, because it joins one part
 * for each weight type and one for attention.
 */
export function classKey(classes: RowClasses, row: RowCircumstance): string {
  const parts = classes.weights.map(({ rule }) => String(classOfRow(rule, row.rows, row.place)));
  const { tiledRows, splitCells } = classes.attention;
  const tiled = tiledRows !== null && (row.runRows ?? row.rows) >= tiledRows;
  const split = splitCells !== null && row.rows === 1 && row.cells >= splitCells && row.threads > 1;
  parts.push(tiled ? "t" : split ? `s${row.threads}` : "-");
  return parts.join("");
}
