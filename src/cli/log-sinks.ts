import { type BadLine, describeRow, type LogRow, type LogSummary, StageTotals } from "../logs/index.ts";
import type { CliHost } from "./host.ts";
import type { Output } from "./output.ts";
import { formatMs } from "./quantities.ts";
import { renderTable } from "./table.ts";

const WRITE_CHARS = 2 ** 15;

/** Where `noodle logs` puts its rows. */
interface LogSink {
  add(row: LogRow): void;
  finish(summary: LogSummary, bad: readonly BadLine[]): void;
}

interface TextLogOptions {
  readonly showProducer: boolean;
  /** Behind the rows, what the stages spent on the steps among them. */
  readonly showTotals: boolean;
}

/** A line for each row; behind a request's story, what its stages spent. */
export class TextLogSink implements LogSink {
  readonly #out: Output;
  readonly #options: TextLogOptions;
  readonly #totals = new StageTotals();
  #text = "";

  constructor(out: Output, options: TextLogOptions) {
    this.#out = out;
    this.#options = options;
  }

  add(row: LogRow): void {
    if (row.schema === "noodle.step.v1") this.#totals.add(row);
    const time = new Date(row.time_unix_ns / 1e6).toISOString();
    const stream = (row.schema.split(".")[1] ?? "").padEnd("request".length);
    const producer = this.#options.showProducer ? ` ${JSON.stringify(row.producer_id).slice(1, -1)}` : "";
    this.#text += `${time}  ${stream}${producer}  ${describeRow(row)}\n`;
    if (this.#text.length > WRITE_CHARS) this.#flush();
  }

  finish(): void {
    this.#flush();
    const totals = this.#totals.list();
    if (!this.#options.showTotals || totals.length === 0) return;
    const ms = (sumNs: number, steps: number): string => formatMs(steps === 0 ? null : sumNs / 1e6 / steps);
    this.#out.line();
    this.#out.line("mean of its steps, ms:");
    this.#out.data(
      renderTable(
        [
          { title: "stage", align: "right" },
          { title: "node" },
          { title: "steps", align: "right" },
          { title: "hop", align: "right" },
          { title: "queue", align: "right" },
          { title: "compute", align: "right" },
          { title: "serialize", align: "right" },
        ],
        totals.map(({ stage, nodeId, steps, hopNs, hopSteps, queueNs, computeNs, serializeNs }) => [
          String(stage),
          JSON.stringify(nodeId).slice(1, -1),
          String(steps),
          ms(hopNs, hopSteps),
          ms(queueNs, steps),
          ms(computeNs, steps),
          ms(serializeNs, steps),
        ]),
      ),
    );
  }

  #flush(): void {
    this.#out.data(this.#text);
    this.#text = "";
  }
}

/** One document, written while rows come: logs may be larger than memory. Each row is a line of its own. */
export class JsonLogSink implements LogSink {
  readonly #host: CliHost;
  #rows = 0;

  constructor(host: CliHost) {
    this.#host = host;
  }

  add(row: LogRow): void {
    this.#begin();
    this.#host.stdout.write(`${this.#rows === 0 ? "" : ","}\n${JSON.stringify(row)}`);
    this.#rows += 1;
  }

  finish(summary: LogSummary, bad: readonly BadLine[]): void {
    this.#begin();
    const files = summary.files.map(({ path, rows, badLines, header }) => ({
      path,
      rows,
      bad_lines: badLines,
      header,
    }));
    const rest = {
      files,
      bad_lines: summary.badLines,
      first_bad_lines: bad,
      missing_rows: summary.missingRows,
    };
    this.#host.stdout.write(`\n],${JSON.stringify(rest).slice(1)}\n`);
  }

  #begin(): void {
    if (this.#host.document.written) return;
    this.#host.document.written = true;
    this.#host.stdout.write('{"schema":"noodle.logs.v1","rows":[');
  }
}
