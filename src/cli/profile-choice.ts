import { readFile, stat } from "node:fs/promises";
import { NoodleError } from "../common/index.ts";
import type { PredictStageMs } from "../metrics/index.ts";
import { checkProfileFor, CostModel, MAX_PROFILE_BYTES, type ProfileDocument, readProfile } from "../profile/index.ts";
import type { ObservedRun } from "./observing.ts";

/** Reads a profile's file. @throws NoodleError `FILE_NOT_FOUND`, `PROFILE_INVALID` */
export async function readProfileFile(path: string): Promise<ProfileDocument> {
  const facts = await stat(path).catch(() => null);
  if (facts === null || !facts.isFile()) {
    throw new NoodleError(
      "FILE_NOT_FOUND",
      `there is no profile ${path}; \`noodle profile MODEL --out DIR\` makes one`,
    );
  }
  if (facts.size > MAX_PROFILE_BYTES) {
    throw new NoodleError("PROFILE_INVALID", `${path} has ${facts.size} bytes, the limit is ${MAX_PROFILE_BYTES}`);
  }
  return readProfile(await readFile(path, "utf8"));
}

/**
 * What a profile predicts for a stage. A profile of something else than what runs is named, and refused with
 * `--strict`.
 */
export async function readDriftProfile(run: ObservedRun, path: string): Promise<PredictStageMs> {
  const profile = await readProfileFile(path);
  const differences = checkProfileFor(profile, {
    headerSha256: run.headerSha256,
    engineBuild: run.engine.build,
    engineVariant: run.engine.variant,
    ...(run.threads === null ? {} : { threads: run.threads }),
  });
  if (differences.length > 0) {
    const words = `${path} is a profile of something else: ${differences.join("; ")}`;
    if (run.options.strict === true)
      throw new NoodleError("PROFILE_MISMATCH", `${words}; leave --strict out to use it all the same`);
    run.context.out.note(`warning: ${words}`);
  }
  const model = new CostModel(profile.cost_model);
  const known = new Set(model.units);
  return (units, phase, rows, context) => {
    const [first = 0, end = 0] = units.split(":").map(Number);
    for (let unit = first; unit < end; unit++) if (!known.has(unit)) return null;
    return model.predictStage({ first, end }, { phase, rows, context }).ms;
  };
}
