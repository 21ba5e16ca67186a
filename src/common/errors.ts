import { ERROR_CODES, type ErrorCode, type ErrorCodeRow } from "./error-codes.ts";

export interface NoodleErrorOptions {
  /** Machine-readable facts: the value, the limit, the name. */
  readonly details?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
}

/** The one error class of NoodleCore. Tests and callers look at `code`, never at the wording. */
export class NoodleError extends Error {
  override readonly name: string = "NoodleError";
  readonly code: ErrorCode;
  readonly details: Readonly<Record<string, unknown>>;

  /** @param message names the value, the limit and, where there is one, the option that sets it. */
  constructor(code: ErrorCode, message: string, options: NoodleErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.details = options.details ?? {};
  }

  get row(): ErrorCodeRow {
    return ERROR_CODES[this.code];
  }

  /** Turns whatever was thrown into a NoodleError; used at borders (CLI, gRPC, child processes), never to hide a type. */
  static from(thrown: unknown, fallback: ErrorCode = "INTERNAL"): NoodleError {
    if (thrown instanceof NoodleError) return thrown;
    if (thrown instanceof Error) {
      const errno = (thrown as NodeJS.ErrnoException).code;
      if (errno === "ENOSPC") return new NoodleError("DISK_FULL", thrown.message, { cause: thrown });
      if (errno === "ENOENT") return new NoodleError("FILE_NOT_FOUND", thrown.message, { cause: thrown });
      if (errno === "EACCES" || errno === "EISDIR")
        return new NoodleError("FILE_UNREADABLE", thrown.message, { cause: thrown });
      if (errno === "EADDRINUSE") return new NoodleError("PORT_IN_USE", thrown.message, { cause: thrown });
      return new NoodleError(fallback, thrown.message, { cause: thrown });
    }
    return new NoodleError(fallback, String(thrown));
  }

  /** The form that crosses process and network borders. */
  toJSON(): { code: ErrorCode; message: string; details: Readonly<Record<string, unknown>> } {
    return { code: this.code, message: this.message, details: this.details };
  }

  static fromJSON(value: unknown): NoodleError {
    if (typeof value === "object" && value !== null && "code" in value && "message" in value) {
      const { code, message } = value;
      if (typeof code === "string" && Object.hasOwn(ERROR_CODES, code) && typeof message === "string") {
        const details =
          "details" in value && typeof value.details === "object" && value.details !== null ? value.details : {};
        return new NoodleError(code as ErrorCode, message, { details: { ...details } });
      }
    }
    return new NoodleError("INTERNAL", `unreadable error: ${JSON.stringify(value)}`);
  }
}

/** Narrows away `undefined` where the program's own logic guarantees a value. */
export function must<T>(value: T | undefined | null, what: string): T {
  if (value === undefined || value === null) throw new NoodleError("INTERNAL", `missing ${what}`);
  return value;
}
