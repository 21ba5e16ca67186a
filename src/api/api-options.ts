import type { ApiLimits } from "./limits.ts";
import type { ServedModel } from "./served-model.ts";

/** Whoever counts. */
export interface ApiMetricsSource {
  readonly contentType: string;
  render(): Promise<string>;
}

export interface ApiServerOptions {
  /** More can be served later. @default none */
  readonly models?: readonly ServedModel[];
  /** Ids of models that will be: until all of them are served, the server is not ready. @default none */
  readonly expectedModels?: readonly string[];
  /** @default DEFAULT_LIMITS */
  readonly limits?: Partial<ApiLimits>;
  /** Asked for by every route but `/live` and `/ready`; by the page at `/` as the password of HTTP Basic. @default none are asked for */
  readonly apiKeys?: readonly string[];
  /** More keys, as SHA-256 in hex: those that count at this moment. @default none */
  readonly keyHashes?: () => readonly string[];
  /** PEM. @default plain HTTP */
  readonly tls?: { readonly certificatePem: string; readonly privateKeyPem: string };
  /** HTML of the page at `/`: one file, with its scripts and styles in it. @default null = none */
  readonly page?: string | null;
  /** Names, beside addresses and `localhost`, that requests may be sent to. @default none */
  readonly allowedHosts?: readonly string[];
  /** Origins whose pages may read the answers, such as `http://localhost:3000`; `*` = all. @default none */
  readonly corsOrigins?: readonly string[];
  /** Of this release; stands in the OpenAPI document. @default "0.0.0" */
  readonly version?: string;
}
