import type { GgufHeader } from "../gguf/index.ts";
import { describeModel } from "../model/index.ts";
import { describeWork } from "../profile/index.ts";
import type { PlacementModel } from "./plan-types.ts";

/**
 * What planning has to know of a model.
 *
 * @param file null for a shape that is no file
 * @throws NoodleError `GGUF_MALFORMED` for keys of a wrong type
 */
export function describePlacementModel(
  header: GgufHeader,
  file: { readonly path: string; readonly bytes: number; readonly headerSha256: string } | null,
): PlacementModel {
  return {
    description: describeModel(header, file?.bytes ?? 0),
    work: describeWork(header, file?.bytes ?? 0),
    headerSha256: file?.headerSha256 ?? null,
    path: file?.path ?? null,
  };
}
