import { NoodleError } from "../common/index.ts";
import type { Phase } from "../observe/index.ts";
import { FilledTable } from "./filled-table.ts";
import type { CostClass, CostModelDocument } from "./types.ts";

/** A step whose cost is asked for: see `RawCell` for what rows and context mean in each phase. */
export interface CostQuery {
  readonly phase: Phase;
  /** At least 1. */
  readonly rows: number;
  /** Positions before the step; of a decode step with unequal sequences, their mean. */
  readonly context: number;
}

export interface Prediction {
  readonly ms: number;
  /** True when some of it lies outside what was measured. */
  readonly extrapolated: boolean;
}

/**
 * Predicts times from the tables of a profile: exactly what was measured at a measured point, linear in between. A
 * phase that was not measured is predicted from the other.
 */
export class CostModel {
  readonly document: CostModelDocument;
  readonly #tables = new Map<number, Readonly<Record<Phase, FilledTable>>>();
  readonly #borrowed = new Map<number, Phase>();

  /** @throws NoodleError `PROFILE_INVALID` for a class without a measured cell */
  constructor(document: CostModelDocument) {
    this.document = document;
    for (const unitClass of document.classes) {
      const decode = fillTable(unitClass, "decode");
      const prefill = fillTable(unitClass, "prefill");
      const tables = { decode: decode ?? prefill, prefill: prefill ?? decode };
      if (tables.decode === null || tables.prefill === null) {
        throw new NoodleError(
          "PROFILE_INVALID",
          `the class "${unitClass.name}" of the cost model has no measured cell`,
        );
      }
      for (const unit of unitClass.units) {
        this.#tables.set(unit, { decode: tables.decode, prefill: tables.prefill });
        if (decode === null) this.#borrowed.set(unit, "decode");
        if (prefill === null) this.#borrowed.set(unit, "prefill");
      }
    }
  }

  /** Units that can be predicted, ascending. */
  get units(): readonly number[] {
    return [...this.#tables.keys()].sort((a, b) => a - b);
  }

  /**
   * Time of one unit in a step.
   *
   * @throws NoodleError `PROFILE_MISMATCH` for a unit that no measured class holds, `USAGE` for no rows or a negative
   *   context
   */
  predict(unit: number, query: CostQuery): Prediction {
    const { phase, rows, context } = query;
    if (!(rows >= 1 && Number.isFinite(rows) && context >= 0 && Number.isFinite(context))) {
      throw new NoodleError("USAGE", `${rows} rows at a context of ${context}: rows from 1 and a context from 0`);
    }
    const tables = this.#tables.get(unit);
    if (tables === undefined) {
      throw new NoodleError("PROFILE_MISMATCH", `unit ${unit} was not measured; the profile has ${this.#nameUnits()}`, {
        details: { unit },
      });
    }
    const { ms, extrapolated } = tables[phase].predict(rows, context);
    return { ms, extrapolated: extrapolated || this.#borrowed.get(unit) === phase };
  }

  /**
   * Time of one engine call over the units `first` to `end - 1`, the call's own cost included.
   *
   * @throws as `predict`
   */
  predictStage(range: { readonly first: number; readonly end: number }, query: CostQuery): Prediction {
    let ms = this.document.step_overhead_ms[query.phase];
    let extrapolated = false;
    for (let unit = range.first; unit < range.end; unit++) {
      const prediction = this.predict(unit, query);
      ms += prediction.ms;
      extrapolated ||= prediction.extrapolated;
    }
    return { ms, extrapolated };
  }

  #nameUnits(): string {
    const { classes } = this.document;
    return classes.map(({ name, units }) => `${name} (${units.length})`).join(", ");
  }
}

function fillTable(unitClass: CostClass, phase: Phase): FilledTable | null {
  const table = unitClass[phase];
  return table.ms.some((line) => line.some((cell) => cell !== null)) ? new FilledTable(table, phase) : null;
}
