export type { ApiMetricsSource, ApiServerOptions } from "./api-options.ts";
export { type ApiServer, createApiServer } from "./api-server.ts";
export { type ApiLimits, DEFAULT_LIMITS } from "./limits.ts";
export { readChatPage } from "./page/index.ts";
export type { ModelFacts, Readiness, ServedModel, ServedTokenizer, TokenizeOptions } from "./served-model.ts";
