import { must, sum } from "../common/index.ts";
import { type GgmlType, ggmlTypeByName, tensorBytes } from "../gguf/index.ts";
import type { PlacementModel } from "../placement/index.ts";
import { type CostClass, CostModel, type CostTable, type TensorWork } from "../profile/index.ts";

/** A model with its matrices in another type. @throws NoodleError `GGUF_UNSUPPORTED` for a type that there is not */
export function retypeModel(model: PlacementModel, name: string): PlacementModel {
  const type = ggmlTypeByName(name);
  const work = {
    ...model.work,
    units: model.work.units.map((unit) => ({
      ...unit,
      tensors: unit.tensors.map((tensor) => retypeTensor(tensor, type)),
    })),
  };
  const { description } = model;
  const ratios = work.units.map((unit, index) => {
    const before = sum((model.work.units[index]?.tensors ?? []).map(({ bytes }) => bytes));
    return before > 0 ? sum(unit.tensors.map(({ bytes }) => bytes)) / before : 1;
  });
  return {
    ...model,
    // No file has this header.
    headerSha256: null,
    work,
    description: {
      ...description,
      units: description.units.map((unit) => ({ ...unit, bytes: Math.round(unit.bytes * (ratios[unit.index] ?? 1)) })),
      tiedBytes: Math.round(description.tiedBytes * (ratios[0] ?? 1)),
    },
  };
}

function retypeTensor(tensor: TensorWork, type: GgmlType): TensorWork {
  const { use, dims } = tensor;
  const width = dims[0] ?? 0;
  if (use === "vector" || dims.length < 2 || width % type.blockElements !== 0) return tensor;
  return { ...tensor, type: type.name, bytes: tensorBytes(type, dims) };
}

/**
 * What a machine would take for the model in another type: the time that reading the weights takes (a decode step of one
 * row does little else) grows or shrinks with their bytes, and the rest stays.
 */
export function retypeCosts(costs: CostModel, before: PlacementModel, after: PlacementModel): CostModel {
  const classes = costs.document.classes.map((unitClass): CostClass => {
    const unit = must(unitClass.units[0], "unit of a class");
    const bytesOf = (model: PlacementModel): number =>
      sum((model.work.units[unit]?.tensors ?? []).map(({ bytes }) => bytes));
    const ratio = bytesOf(before) > 0 ? bytesOf(after) / bytesOf(before) : 1;
    const readMs = costs.predict(unit, { phase: "decode", rows: 1, context: 0 }).ms;
    const change = (table: CostTable): CostTable => ({
      ...table,
      ms: table.ms.map((line) => line.map((ms) => (ms === null ? null : ms + (ratio - 1) * Math.min(ms, readMs)))),
    });
    return {
      ...unitClass,
      weights_bytes: Math.round(unitClass.weights_bytes * ratio),
      decode: change(unitClass.decode),
      prefill: change(unitClass.prefill),
    };
  });
  return new CostModel({ ...costs.document, classes });
}

/** A machine on which every step takes `factor` times as long. */
export function slowCosts(costs: CostModel, factor: number): CostModel {
  const slow = (table: CostTable): CostTable => ({
    ...table,
    ms: table.ms.map((line) => line.map((ms) => (ms === null ? null : ms * factor))),
  });
  const { step_overhead_ms: overhead, classes } = costs.document;
  return new CostModel({
    ...costs.document,
    step_overhead_ms: { decode: overhead.decode * factor, prefill: overhead.prefill * factor },
    classes: classes.map((each) => ({ ...each, decode: slow(each.decode), prefill: slow(each.prefill) })),
  });
}
