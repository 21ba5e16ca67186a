import { parentPort } from "node:worker_threads";
import packaged from "highs";
import type { HighsReply, HighsRequest } from "./messages.ts";

/** Thread that solves one program after the other: the solver blocks, so it must not run where others wait. */
// The package's declarations speak of its CommonJS form, where the function is one level deeper.
const loadHighs = packaged as unknown as typeof packaged.default;
const ZERO = 1e-9;
const highs = await loadHighs();

parentPort?.on("message", (request: HighsRequest) => parentPort?.postMessage(solve(request), []));

function solve({ id, lpText, timeLimitS, firstOnly }: HighsRequest): HighsReply {
  try {
    return highs.withModel({ format: "lp", data: lpText }, (model): HighsReply => {
      model.options.set({ output_flag: false, time_limit: timeLimitS });
      if (firstOnly) model.options.set({ mip_max_improving_sols: 1 });
      model.run();
      const { modelStatus } = highs.constants;
      const status = model.getModelStatus();
      const values = [...model.getSolution().colValue].flatMap((value, column): [string, number][] =>
        Math.abs(value) > ZERO ? [[model.getColName(column), value]] : [],
      );
      if (status === modelStatus.optimal) return { id, status: "optimal", values };
      if (status === modelStatus.infeasible) return { id, status: "infeasible", values: [] };
      // Out of time or told to stop: there may be a solution, which the caller checks.
      return { id, status: values.length > 0 ? "found" : "undecided", values };
    });
  } catch {
    // A program that the solver cannot take is one that it leaves undecided.
    return { id, status: "undecided", values: [] };
  }
}
