import { freemem } from "node:os";
import { NoodleError, sum } from "../common/index.ts";
import type { NamedModel } from "./serving.ts";

/** What several models on the same machines have to share out among them. */

/** @throws NoodleError `USAGE`: one split can't fit several models */
export function requireOneSplit(models: readonly string[], split: string | undefined): void {
  if (models.length > 1 && split !== undefined) {
    throw new NoodleError("USAGE", `--split is that of one model, ${models.length} are given`);
  }
}

/** The gRPC port of the model at `index`: the first one's, the next one, ... @throws NoodleError `USAGE` */
export function chooseGrpcPort(first: number, index: number): number {
  if (first === 0) return 0;
  if (first + index <= 65_535) return first + index;
  throw new NoodleError(
    "USAGE",
    `the model number ${index + 1} would have the gRPC port ${first + index} (--grpc-port)`,
  );
}

/**
 * What each worker of a model may use, so that all of them fit into `memoryBytes` together: each model gets a part by the
 * bytes of its file, each of its workers as much as the others. Nothing is said where one model has the machine and no
 * limit is given: its workers look for themselves.
 */
export function shareMemory(
  models: readonly NamedModel[],
  memoryBytes: number | undefined,
  workers: number,
): (model: NamedModel) => number | undefined {
  if (memoryBytes === undefined && models.length === 1) return () => undefined;
  const bytes = memoryBytes ?? freemem();
  const total = sum(models.map(({ file }) => file.model.fileBytes));
  return ({ file }) => Math.floor((bytes * file.model.fileBytes) / total / workers);
}
