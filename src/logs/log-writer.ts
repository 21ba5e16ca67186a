import { NoodleError } from "../common/index.ts";
import type { EventRecord } from "../observe/index.ts";
import { takeAnchor } from "./clock.ts";
import { describeProducer, describeWork, type LogModel, type LogPlan, readHostFacts } from "./header.ts";
import { type CompiledLogOptions, compileLogOptions, type LogWriterOptions } from "./log-options.ts";
import { LossCounter } from "./loss-counter.ts";
import { type QueuedRow, RowQueue } from "./row-queue.ts";
import { type RowBody, writeEventRow } from "./row-bodies.ts";
import { RowText } from "./row-text.ts";
import { type LogChunk, StreamFile } from "./stream-file.ts";
import { cleanProducerName, LOG_STREAMS, type LogStream, parseLogFileName } from "./streams.ts";

/** A turn of the event loop serialises about this much; the write that follows lets others in. */
const CHUNK_BYTES = 2 ** 16;
const DEFAULT_ROW_BYTES = 512;
const CLOSE_TIMEOUT_MS = 5000;

const UNKNOWN_MODEL: LogModel = { name: null, sourceSha256: null, units: 0 };

export interface LogWriterStats {
  readonly rowsWritten: number;
  /** Dropped because the queue was full, or given up at the end. */
  readonly rowsLost: number;
  readonly rowsQueued: number;
  /** Headers included. */
  readonly bytesWritten: number;
  /** Why nothing can be written at present; null when all is well. */
  readonly problem: EventRecord | null;
}

interface Stream {
  readonly name: LogStream;
  readonly queue: RowQueue;
  readonly file: StreamFile;
  readonly text: RowText;
  nextSeq: number;
}

/**
 * Writes the streams of one producer. `write` costs about a push: rows are turned into text later, in batches, and
 * written by asynchronous calls. Nothing here waits for the disk: a full queue drops rows and counts them.
 */
export class LogWriter {
  readonly #options: CompiledLogOptions;
  readonly #streams: Readonly<Record<LogStream, Stream>>;
  readonly #lost = new LossCounter();
  #model: LogModel | null = null;
  #plan: LogPlan | null = null;
  #queuedRows = 0;
  #queuedBytes = 0;
  #rowsWritten = 0;
  #problem: EventRecord | null = null;
  /** Lines of a write that failed: they go first when it is tried again. */
  #stuck: { readonly stream: Stream; readonly chunk: LogChunk; readonly rows: readonly QueuedRow[] } | null = null;
  #timer: NodeJS.Timeout | null = null;
  #timerIsSoon = false;
  #draining: Promise<void> | null = null;
  #closing: Promise<LogWriterStats> | null = null;
  #abandoned = false;

  private constructor(options: CompiledLogOptions, existing: readonly string[]) {
    this.#options = options;
    const anchor = takeAnchor(options.clock);
    const producer = cleanProducerName(options.producerId);
    const names = existing.map(parseLogFileName).filter((name) => name?.producer === producer);
    const producerFacts = describeProducer(options.facts, readHostFacts(), anchor);
    const openStream = (stream: LogStream): Stream => {
      const text = new RowText(stream, options.runId, options.producerId, anchor);
      const indices = names.filter((name) => name?.stream === stream).map((name) => name?.index ?? 0);
      const buildHeader = (fileIndex: number, firstSeq: number): string => {
        const body = {
          event_type: "header",
          stream,
          file_index: fileIndex,
          ...producerFacts,
          ...describeWork(this.#model, this.#plan),
        };
        return text.render(firstSeq, options.clock.monoNs(), body);
      };
      const file = new StreamFile({
        files: options.files,
        directory: options.directory,
        producer,
        stream,
        segmentBytes: options.segmentBytes,
        keepSegments: options.keepSegments,
        existing: indices.sort((left, right) => left - right),
        buildHeader,
      });
      return { name: stream, queue: new RowQueue(), file, text, nextSeq: 0 };
    };
    this.#streams = Object.fromEntries(LOG_STREAMS.map((stream) => [stream, openStream(stream)])) as Record<
      LogStream,
      Stream
    >;
  }

  /**
   * Creates the folder and continues the chains of files that this producer has there; no file is made before its
   * first row.
   *
   * @throws NoodleError `USAGE` for a bad option; `FILE_UNREADABLE`, `DISK_FULL` when the folder can't be had
   */
  static async create(options: LogWriterOptions): Promise<LogWriter> {
    const compiled = compileLogOptions(options);
    try {
      return new LogWriter(compiled, await compiled.files.list(compiled.directory));
    } catch (error) {
      throw NoodleError.from(error, "FILE_UNREADABLE");
    }
  }

  /** Puts what has become known into the headers of files that are begun from now on. */
  describe(work: { readonly model?: Partial<LogModel>; readonly plan?: LogPlan }): void {
    if (work.model !== undefined) this.#model = { ...UNKNOWN_MODEL, ...this.#model, ...work.model };
    this.#plan = work.plan ?? this.#plan;
  }

  /**
   * Takes a row. Never throws and never waits.
   *
   * @param body      borrowed until it is written: do not change it
   * @param sizeBytes about how long its line will be
   * @returns whether it was taken; one that was not (queue full, or closed) is counted and leaves a gap in `seq`
   */
  write<S extends LogStream>(stream: S, body: RowBody<S>, sizeBytes: number = DEFAULT_ROW_BYTES): boolean {
    const { maxQueuedRows, maxQueuedBytes } = this.#options;
    const state = this.#streams[stream];
    const seq = state.nextSeq;
    state.nextSeq += 1;
    const isFull = this.#queuedRows >= maxQueuedRows || this.#queuedBytes + sizeBytes > maxQueuedBytes;
    if (isFull || this.#closing !== null) {
      this.#lost.add(stream, 1);
      return false;
    }
    this.#push(state, { seq, monoNs: this.#options.clock.monoNs(), body, sizeBytes });
    return true;
  }

  stats(): LogWriterStats {
    return {
      rowsWritten: this.#rowsWritten,
      rowsLost: this.#lost.total,
      rowsQueued: this.#queuedRows,
      bytesWritten: LOG_STREAMS.reduce((sum, stream) => sum + this.#streams[stream].file.bytesWritten, 0),
      problem: this.#problem,
    };
  }

  /** Tries to write all that waits, also within an outage. Resolves when it is written or has failed; never rejects. */
  async flush(): Promise<void> {
    this.#stopTimer();
    // A drain under way may have passed a stream that got rows since.
    await this.#draining;
    await this.#drain();
  }

  /**
   * Writes what waits and closes the files. What is not written within `timeoutMs` is given up and counted as lost.
   * Closing twice is the same as once.
   */
  close(timeoutMs: number = CLOSE_TIMEOUT_MS): Promise<LogWriterStats> {
    this.#closing ??= this.#finish(timeoutMs);
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #push(stream: Stream, row: QueuedRow): void {
    stream.queue.push(row);
    this.#queuedRows += 1;
    this.#queuedBytes += row.sizeBytes;
    if (this.#draining !== null || this.#problem !== null || this.#closing !== null) return;
    const isMuch = this.#queuedBytes * 4 > this.#options.maxQueuedBytes;
    if (this.#timer === null || (isMuch && !this.#timerIsSoon)) this.#startTimer(isMuch ? 0 : this.#options.flushMs);
  }

  #startTimer(delayMs: number): void {
    this.#stopTimer();
    this.#timerIsSoon = delayMs === 0;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      void this.#drain();
    }, delayMs);
    // Rows that wait are no reason to keep a process: `close` is.
    this.#timer.unref();
  }

  #stopTimer(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #drain(): Promise<void> {
    this.#draining ??= this.#drainAll().finally(() => {
      this.#draining = null;
      if (this.#closing !== null) return;
      if (this.#problem !== null) this.#startTimer(this.#options.retryMs);
      else if (this.#queuedRows > 0) this.#startTimer(this.#options.flushMs);
    });
    return this.#draining;
  }

  async #drainAll(): Promise<void> {
    for (let pass = 0; !this.#abandoned; pass += 1) {
      const job = this.#stuck ?? this.#takeJob(pass);
      if (job === null) {
        if (!this.#reportLoss(true)) return;
        continue;
      }
      this.#stuck = job;
      const before = job.chunk.next;
      try {
        await job.stream.file.append(job.chunk);
      } catch (error) {
        this.#rowsWritten += job.chunk.next - before;
        this.#reportOutage(error);
        return;
      }
      this.#rowsWritten += job.chunk.next - before;
      this.#stuck = null;
      this.#release(job.rows);
      this.#problem = null;
      this.#reportLoss(false);
    }
  }

  /** Serialises the next rows of some stream; streams take turns. Null when no row waits. */
  #takeJob(pass: number): { stream: Stream; chunk: LogChunk; rows: readonly QueuedRow[] } | null {
    for (let offset = 0; offset < LOG_STREAMS.length; offset += 1) {
      const stream = this.#streams[LOG_STREAMS[(pass + offset) % LOG_STREAMS.length] ?? "event"];
      const rows = stream.queue.take(CHUNK_BYTES);
      if (rows.length === 0) continue;
      const { lines, leftOut } = stream.text.renderAll(rows);
      this.#lost.add(stream.name, leftOut);
      return { stream, rows, chunk: { lines, next: 0 } };
    }
    return null;
  }

  #release(rows: readonly QueuedRow[]): void {
    this.#queuedRows -= rows.length;
    for (const row of rows) this.#queuedBytes -= row.sizeBytes;
  }

  /** @returns whether a row was put into the queue */
  #reportLoss(isIdle: boolean): boolean {
    const event = this.#lost.takeReport(this.#options.clock.monoNs(), isIdle);
    if (event === null) return false;
    this.#announce(event);
    return true;
  }

  #reportOutage(thrown: unknown): void {
    if (this.#problem !== null) return;
    const error = NoodleError.from(thrown, "FILE_UNREADABLE");
    this.#problem = {
      name: "log.write_failed",
      severity: "error",
      nodeId: null,
      message: `logs are not written to ${this.#options.directory} (${error.message}); serving goes on, rows are kept while there is room and counted beyond`,
      details: { code: error.code, retry_ms: this.#options.retryMs },
    };
    this.#announce(this.#problem);
  }

  /** The writer's own events have a place in the queue however full it is: there are few of them. */
  #announce(event: EventRecord): void {
    const stream = this.#streams.event;
    this.#push(stream, {
      seq: stream.nextSeq,
      monoNs: this.#options.clock.monoNs(),
      body: writeEventRow(event),
      sizeBytes: DEFAULT_ROW_BYTES,
    });
    stream.nextSeq += 1;
    this.#tell(event);
  }

  #tell(event: EventRecord): void {
    try {
      this.#options.onProblem(event);
    } catch {
      // Whoever listens must not stop the log; the row is written all the same.
    }
  }

  async #finish(timeoutMs: number): Promise<LogWriterStats> {
    this.#stopTimer();
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeoutMs);
    });
    await Promise.race([this.#writeRest(), timeout]);
    clearTimeout(timer);
    this.#abandoned = true;
    for (const stream of LOG_STREAMS) this.#lost.add(stream, this.#streams[stream].queue.length);
    if (this.#stuck !== null) {
      const { chunk, stream } = this.#stuck;
      this.#lost.add(stream.name, chunk.lines.length - chunk.next);
    }
    // No file takes this one any more.
    const loss = this.#lost.takeReport(this.#options.clock.monoNs(), true);
    if (loss !== null) this.#tell(loss);
    return { ...this.stats(), rowsQueued: 0 };
  }

  async #writeRest(): Promise<void> {
    await this.flush();
    await Promise.all(
      LOG_STREAMS.map((stream) =>
        this.#streams[stream].file.close().catch((error: unknown) => this.#reportOutage(error)),
      ),
    );
  }
}
