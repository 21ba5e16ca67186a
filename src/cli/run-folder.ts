import { mkdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";

/** A folder that keeps what a run gave, in files that other programs read. */
export class RunFolder {
  readonly path: string;
  readonly #files: string[] = [];

  private constructor(path: string) {
    this.path = path;
  }

  /** Creates the folder. */
  static async create(path: string): Promise<RunFolder> {
    const folder = new RunFolder(resolve(path));
    await mkdir(folder.path, { recursive: true });
    return folder;
  }

  /** Names of what was written, in order. */
  get files(): readonly string[] {
    return this.#files;
  }

  async writeText(name: string, text: string): Promise<void> {
    await writeFile(join(this.path, name), text);
    this.#files.push(name);
  }

  writeJson(name: string, value: unknown): Promise<void> {
    return this.writeText(name, `${JSON.stringify(value, null, 2)}\n`);
  }

  writeLines(name: string, rows: readonly unknown[]): Promise<void> {
    return this.writeText(name, rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  }
}

/** `noodle-run-20261123-114501`, of local time. */
export function nameRunFolder(now: Date): string {
  const two = (value: number): string => String(value).padStart(2, "0");
  const day = `${now.getFullYear()}${two(now.getMonth() + 1)}${two(now.getDate())}`;
  return `noodle-run-${day}-${two(now.getHours())}${two(now.getMinutes())}${two(now.getSeconds())}`;
}
