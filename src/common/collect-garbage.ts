import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/**
 * Gives this thread's unused heap back to the system now. For the moments behind a large parse (a header with a
 * vocabulary is tens of megabytes of strings): a thread that then sleeps would keep them for good.
 */
export function collectGarbage(): void {
  const { gc } = globalThis;
  if (gc !== undefined) {
    gc();
    return;
  }
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  collect();
}
