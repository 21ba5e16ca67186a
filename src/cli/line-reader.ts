import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { Writable } from "node:stream";

/** Lines that a person types, or that come through a pipe. */
export interface LineReader {
  /** Whether somebody sits at a keyboard. */
  readonly isTty: boolean;
  /** The next line without its end; null when there are no more. The prompt is shown at a keyboard only. */
  next(prompt: string): Promise<string | null>;
  /** Calls `listener` at Ctrl-C, unless there is a half-typed line, which it clears; one listener at a time. */
  onInterrupt(listener: () => void): void;
  /** Gives the keyboard back as it was. Closing twice is safe. */
  close(): void;
}

export interface LineStreams {
  readonly stdin: Readable & { readonly isTTY?: boolean };
  /** Where prompts and what is typed are shown: beside the data. */
  readonly stderr: NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number };
}

/** Shows what is typed only while somebody is asked for it: an answer that streams is not torn apart. */
class Screen extends Writable {
  readonly isTTY = true;
  muted = true;
  readonly #to: LineStreams["stderr"];

  constructor(to: LineStreams["stderr"]) {
    super();
    this.#to = to;
  }

  get columns(): number {
    return this.#to.columns ?? 80;
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    if (!this.muted) this.#to.write(chunk);
    done();
  }
}

/** Reads the process's own input. At a keyboard lines can be edited, and earlier ones come back with the arrow keys. */
export function openLineReader({ stdin, stderr }: LineStreams): LineReader {
  const isTty = stdin.isTTY === true && stderr.isTTY === true;
  const screen = new Screen(stderr);
  const reader = createInterface({
    input: stdin,
    crlfDelay: Number.POSITIVE_INFINITY,
    ...(isTty ? { output: screen, terminal: true, historySize: 500, removeHistoryDuplicates: true } : {}),
  });
  const input: { readonly lines: string[]; closed: boolean } = { lines: [], closed: false };
  let wake = (): void => undefined;
  let interrupted = (): void => undefined;
  reader.on("line", (line) => {
    input.lines.push(line);
    wake();
  });
  reader.on("close", () => {
    input.closed = true;
    wake();
  });
  reader.on("SIGINT", () => {
    const isHalfTyped = !screen.muted && reader.line !== "";
    reader.write(null, { ctrl: true, name: "e" });
    reader.write(null, { ctrl: true, name: "u" });
    if (!isHalfTyped) interrupted();
  });
  return {
    isTty,
    next: async (prompt) => {
      const { lines } = input;
      if (lines.length === 0 && !input.closed && isTty) {
        screen.muted = false;
        reader.setPrompt(prompt);
        reader.prompt(true);
      }
      while (lines.length === 0 && !input.closed) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      screen.muted = true;
      return lines.shift() ?? null;
    },
    onInterrupt: (listener) => {
      interrupted = listener;
    },
    close: () => reader.close(),
  };
}
