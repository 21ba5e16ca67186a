import { NoodleError } from "../common/index.ts";

/** Turns what the file system threw into a NoodleError that names the file. NoodleErrors pass. */
export function fileError(thrown: unknown, path: string): NoodleError {
  if (thrown instanceof NoodleError) return thrown;
  const errno = thrown instanceof Error ? (thrown as NodeJS.ErrnoException).code : undefined;
  const message = `${path}: ${thrown instanceof Error ? thrown.message : String(thrown)}`;
  const options = { details: { path, errno }, cause: thrown };
  if (errno === "ENOSPC" || errno === "EDQUOT") return new NoodleError("DISK_FULL", message, options);
  if (errno === "ENOENT") return new NoodleError("FILE_NOT_FOUND", message, options);
  if (errno === undefined) return NoodleError.from(thrown);
  return new NoodleError("FILE_UNREADABLE", message, options);
}
