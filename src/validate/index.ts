export { mergeCosts } from "./merge-costs.ts";
export { type ValidationDocument, validationSchema } from "./document.ts";
export { parsePlanRules } from "./list-plans.ts";
export type { LinkShape, RunLoad } from "./types.ts";
export { checkSpeeds, validateModel } from "./validate-model.ts";
