import { mkdir, rename, writeFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { NoodleError } from "../common/index.ts";

/**
 * Writes a file under another name first: whoever looks meanwhile sees the old one or the new one. Makes its folder.
 *
 * @throws NoodleError `FILE_UNREADABLE`, `DISK_FULL`
 */
export async function writeWhole(path: string, text: string): Promise<void> {
  const target = resolve(path);
  const half = `${target}.${process.pid}.partial`;
  try {
    await mkdir(dirname(target), { recursive: true });
    await writeFile(half, text);
    await rename(half, target);
  } catch (error) {
    throw NoodleError.from(error, "FILE_UNREADABLE");
  }
}
