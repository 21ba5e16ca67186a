import { NoodleError } from "../common/index.ts";
import { getArray, getNumber } from "../gguf/index.ts";
import { ARCHITECTURES, type CutSpec, UNSUPPORTED_ARCHITECTURES } from "./architectures/index.ts";
import type { ModelFacts } from "./facts.ts";
import { OUTPUT, OUTPUT_NORM_BIAS, POSITION_EMBEDDING } from "./tensor-place.ts";

/**
 * `verified`: a test compares every legal cut of the architecture with the undivided engine. `unverified`: the general
 * recipe may be exact, and must be verified before it is used. `unsupported`: it is known not to be.
 */
export type Support =
  | { readonly level: "verified" | "unverified"; readonly spec: CutSpec }
  | { readonly level: "unsupported"; readonly reason: string };

export function findSupport(facts: ModelFacts): Support {
  const reason = findObstacle(facts);
  if (reason !== null) return { level: "unsupported", reason };
  const spec = ARCHITECTURES.get(facts.architecture);
  if (spec !== undefined) return { level: "verified", spec };
  return { level: "unverified", spec: generalSpec(facts) };
}

/**
 * The recipe for a model.
 *
 * @param allowUnverified takes the general recipe where there is no verified one
 * @throws NoodleError `MODEL_UNSUPPORTED`, `MODEL_UNVERIFIED`
 */
export function requireSpec(facts: ModelFacts, allowUnverified: boolean): CutSpec {
  const support = findSupport(facts);
  if (support.level === "unsupported") {
    throw new NoodleError(
      "MODEL_UNSUPPORTED",
      `architecture "${facts.architecture}" cannot be cut: ${support.reason}`,
      {
        details: { architecture: facts.architecture },
      },
    );
  }
  if (support.level === "unverified" && !allowUnverified) {
    throw new NoodleError(
      "MODEL_UNVERIFIED",
      `no test has verified cuts of the architecture "${facts.architecture}"; --unverified verifies this one first`,
      { details: { architecture: facts.architecture } },
    );
  }
  return support.spec;
}

function findObstacle(facts: ModelFacts): string | null {
  const { architecture, metadata } = facts;
  if (facts.blockCount === 0) return "it has no blocks";
  if (facts.embeddingLength === 0) return `it does not say its ${architecture}.embedding_length`;
  if ((getNumber(metadata, `${architecture}.nextn_predict_layers`) ?? 0) > 0) {
    return "it brings extra layers that predict further tokens";
  }
  if (mapsDeepLayers(facts)) return "images are mixed into its later layers";
  return UNSUPPORTED_ARCHITECTURES.get(architecture) ?? null;
}

/** -1 stands for a layer that gets nothing. */
function mapsDeepLayers(facts: ModelFacts): boolean {
  const key = `${facts.architecture}.deepstack_mapping`;
  if (facts.metadata.get(key)?.type !== "array") return false;
  return (getArray(facts.metadata, key) ?? []).some((item) => Number(item) >= 0);
}

/** What most architectures have in common, the rest read off the file. */
function generalSpec(facts: ModelFacts): CutSpec {
  return {
    name: facts.architecture,
    output: facts.tensors.has(OUTPUT) ? "required" : "tied",
    outputNormBias: facts.tensors.has(OUTPUT_NORM_BIAS),
    positionEmbedding: facts.tensors.has(POSITION_EMBEDDING),
    headStage: "mirror",
    embeddingScale: ({ metadata, architecture }) => {
      const scale = getNumber(metadata, `${architecture}.embedding_scale`) ?? 0;
      return scale === 0 ? null : Math.fround(scale);
    },
    laterStageMetadata: new Map([["embedding_scale", null]]),
  };
}
