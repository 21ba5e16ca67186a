import type { NoodleError } from "../common/index.ts";
import type { CliHost } from "./host.ts";
import { Progress } from "./progress.ts";

/** Every `--json` document names its schema first. */
export interface Document {
  readonly schema: string;
  readonly [field: string]: unknown;
}

/**
 * The two channels of a command: data on stdout, everything else on stderr. With `--json` stdout carries exactly one
 * document and nothing else.
 */
export class Output {
  readonly json: boolean;
  readonly progress: Progress;
  readonly #host: CliHost;

  constructor(host: CliHost, json: boolean) {
    this.json = json;
    this.#host = host;
    this.progress = new Progress(host.stderr, () => host.nowMs());
  }

  /** Data for people; silent with `--json`. */
  data(text: string): void {
    if (!this.json) this.#host.stdout.write(text);
  }

  /** A line of data for people; silent with `--json`. */
  line(text = ""): void {
    this.data(`${text}\n`);
  }

  /** The one document of `--json`; silent without. */
  document(document: Document): void {
    if (!this.json) return;
    this.#host.stdout.write(`${JSON.stringify(document, null, 2)}\n`);
    this.#host.document.written = true;
  }

  /** A line beside the data. */
  note(text: string): void {
    this.progress.clear();
    this.#host.stderr.write(`${text}\n`);
  }

  /** Code, message and cure; with `--json` also as the document, unless one was written before. */
  error(error: NoodleError): void {
    this.progress.clear();
    this.#host.stderr.write(`noodle: ${error.code}: ${error.message}\n  cure: ${error.row.cure}\n`);
    if (!this.json || this.#host.document.written) return;
    this.document({
      schema: "noodle.error.v1",
      ...error.toJSON(),
      cure: error.row.cure,
      retryable: error.row.retryable,
    });
  }
}
