import type { LineReader } from "./line-reader.ts";
import type { Terminal } from "./terminal.ts";

/** Where text goes. A real one wraps a stream of the process; tests collect. */
export interface Sink {
  readonly isTty: boolean;
  write(text: string): void;
}

/** All that the commands know of the process they run in; `main.ts` builds the real one. */
export interface CliHost {
  readonly stdout: Sink;
  readonly stderr: Sink;
  /** Only when stdout is one. */
  readonly terminal?: Terminal;
  /** Takes the process's input, once. */
  readonly openLines?: () => LineReader;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Whether this run has written its `--json` document: there is one at most. */
  readonly document: { written: boolean };
  /** Milliseconds on a monotonic clock. */
  nowMs(): number;
  /** Aborted by the first Ctrl-C (or SIGTERM); the reason is a NoodleError `INTERRUPTED`. */
  readonly signal: AbortSignal;
}

/** Makes a host that keeps what is written; for tests. */
export interface CollectedHost extends CliHost {
  readonly written: { stdout: string; stderr: string };
}

/** A host without process: nothing leaves it, time stands still. */
export function collectHost(env: Readonly<Record<string, string | undefined>> = {}): CollectedHost {
  const written = { stdout: "", stderr: "" };
  return {
    written,
    stdout: {
      isTty: false,
      write: (text) => {
        written.stdout += text;
      },
    },
    stderr: {
      isTty: false,
      write: (text) => {
        written.stderr += text;
      },
    },
    env,
    document: { written: false },
    nowMs: () => 0,
    signal: new AbortController().signal,
  };
}
