import type { ApiMetricsSource } from "./api-options.ts";
import type { ModelRegistry } from "./model-registry.ts";
import { describePagePolicy } from "./page-policy.ts";
import type { ServerViews } from "./routes.ts";
import type { Readiness } from "./served-model.ts";

/** What routes show of this process: its models, whoever counts, and what never changes. */
export class ProcessViews implements ServerViews {
  readonly page: { readonly html: string; readonly policy: string } | null;
  readonly document: object;
  readonly #registry: ModelRegistry;
  #metrics: ApiMetricsSource | undefined;

  constructor(registry: ModelRegistry, page: string | null, document: object) {
    this.#registry = registry;
    this.page = page === null ? null : { html: page, policy: describePagePolicy(page) };
    this.document = document;
  }

  showMetrics(source: ApiMetricsSource): void {
    this.#metrics = source;
  }

  /** One model that takes requests is enough to be ready. */
  readiness(): Readiness {
    const all = this.#registry.models.map((model) => model.readiness());
    const ready = all.find(({ status }) => status === "ready");
    return ready ?? all[0] ?? { status: "waiting", reason: "the coordinator is being started" };
  }

  readStatus(id: string | undefined): object | undefined {
    const [first] = this.#registry.models;
    if (id === undefined) return first?.status();
    return this.#registry.find(id).model.status();
  }

  readMetrics(): Promise<{ readonly contentType: string; readonly text: string }> | undefined {
    const source = this.#metrics;
    return source?.render().then((text) => ({ contentType: source.contentType, text }));
  }
}
