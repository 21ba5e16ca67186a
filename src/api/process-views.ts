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
  /** Ids of models that have not been served yet. */
  #missing: readonly string[];
  #metrics: ApiMetricsSource | undefined;

  constructor(registry: ModelRegistry, expectedModels: readonly string[], page: string | null, document: object) {
    this.#registry = registry;
    this.#missing = expectedModels;
    this.page = page === null ? null : { html: page, policy: describePagePolicy(page) };
    this.document = document;
  }

  showMetrics(source: ApiMetricsSource): void {
    this.#metrics = source;
  }

  /** Every model that is to be served is. */
  get isComplete(): boolean {
    const { models } = this.#registry;
    this.#missing = this.#missing.filter((id) => !models.some((model) => model.id === id));
    return this.#missing.length === 0;
  }

  /** Once every model has been loaded, one that takes requests is enough to be ready. */
  readiness(): Readiness {
    const { models } = this.#registry;
    if (!this.isComplete && models.length > 0) {
      return { status: "waiting", reason: `the model ${this.#missing.join(", ")} is being loaded` };
    }
    const all = models.map((model) => model.readiness());
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
