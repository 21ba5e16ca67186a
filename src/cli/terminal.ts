/** What a full-screen view needs of the terminal. */
export interface Terminal {
  readonly columns: number;
  /**
   * Takes the whole screen, and the keys where there is a keyboard, until the screen is released.
   *
   * @param onResize called when the terminal has another size
   */
  takeScreen(onKey: (key: string) => void, onResize: () => void): Screen;
}

export interface Screen {
  readonly columns: number;
  readonly rows: number;
  /** Replaces what is on the screen; lines below its end are left out. */
  draw(lines: readonly string[]): void;
  /** Gives the terminal back as it was. Releasing twice is safe. */
  release(): void;
}

/** The part of the process that a terminal is made of. */
export interface TerminalStreams {
  readonly stdin: {
    readonly isTTY?: boolean;
    setRawMode?(on: boolean): unknown;
    on(event: "data", listener: (chunk: Uint8Array | string) => void): unknown;
    off(event: "data", listener: (chunk: Uint8Array | string) => void): unknown;
    resume(): unknown;
    pause(): unknown;
  };
  readonly stdout: {
    readonly columns?: number;
    readonly rows?: number;
    write(text: string): unknown;
    on(event: "resize", listener: () => void): unknown;
    off(event: "resize", listener: () => void): unknown;
  };
  /** The process ends, however it does. */
  on(event: "exit", listener: () => void): unknown;
  off(event: "exit", listener: () => void): unknown;
}

const ENTER = "\u001b[?1049h\u001b[?25l\u001b[H\u001b[2J";
const LEAVE = "\u001b[?25h\u001b[?1049l";
const HOME = "\u001b[H";
const CLEAR_LINE = "\u001b[K";
const CLEAR_BELOW = "\u001b[J";
const DEFAULT_COLUMNS = 80;
const DEFAULT_ROWS = 24;

/** The process's own terminal. What it took is given back even when the process ends in the middle. */
export function openTerminal(streams: TerminalStreams): Terminal {
  return {
    get columns() {
      return streams.stdout.columns ?? DEFAULT_COLUMNS;
    },
    takeScreen: (onKey, onResize) => takeScreen(streams, onKey, onResize),
  };
}

function takeScreen(streams: TerminalStreams, onKey: (key: string) => void, onResize: () => void): Screen {
  const { stdin, stdout } = streams;
  const hasKeys = stdin.isTTY === true && stdin.setRawMode !== undefined;
  let released = false;
  const onData = (chunk: Uint8Array | string): void => onKey(Buffer.from(chunk).toString("utf8"));
  const release = (): void => {
    if (released) return;
    released = true;
    streams.off("exit", release);
    stdout.off("resize", onResize);
    if (hasKeys) {
      stdin.off("data", onData);
      stdin.setRawMode?.(false);
      stdin.pause();
    }
    stdout.write(LEAVE);
  };
  streams.on("exit", release);
  stdout.on("resize", onResize);
  if (hasKeys) {
    stdin.setRawMode?.(true);
    stdin.on("data", onData);
    stdin.resume();
  }
  stdout.write(ENTER);
  return {
    get columns() {
      return stdout.columns ?? DEFAULT_COLUMNS;
    },
    get rows() {
      return stdout.rows ?? DEFAULT_ROWS;
    },
    draw: (lines) => {
      if (released) return;
      const shown = lines.slice(0, stdout.rows ?? DEFAULT_ROWS).map((line) => `${line}${CLEAR_LINE}`);
      stdout.write(`${HOME}${shown.join("\r\n")}${CLEAR_BELOW}`);
    },
    release,
  };
}
