import { mkdir, open, readdir, unlink } from "node:fs/promises";
import { join } from "node:path";

/** What a log needs of a file system; tests give one of their own. Everything rejects with the system's errors. */
export interface LogFileSystem {
  /** Names in a folder, which is created when it is not there. */
  list(directory: string): Promise<readonly string[]>;
  /** Creates a file for writing; rejects with `EEXIST` when there is one. */
  create(directory: string, name: string): Promise<LogFile>;
  remove(directory: string, name: string): Promise<void>;
}

export interface LogFile {
  /** Writes all bytes at `position`, or rejects; then any part of them may have been written. */
  write(bytes: Uint8Array, position: number): Promise<void>;
  truncate(bytes: number): Promise<void>;
  close(): Promise<void>;
}

export const SYSTEM_LOG_FILES: LogFileSystem = {
  async list(directory) {
    await mkdir(directory, { recursive: true });
    return readdir(directory);
  },
  async create(directory, name) {
    await mkdir(directory, { recursive: true });
    const handle = await open(join(directory, name), "wx");
    return {
      async write(bytes, position) {
        // The system may take a part only, and says why at the next call.
        for (let done = 0; done < bytes.length; ) {
          done += (await handle.write(bytes, done, bytes.length - done, position + done)).bytesWritten;
        }
      },
      truncate: (bytes) => handle.truncate(bytes),
      close: () => handle.close(),
    };
  },
  remove: (directory, name) => unlink(join(directory, name)),
};
