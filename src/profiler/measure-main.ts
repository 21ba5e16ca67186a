// The measuring process: one job comes, measurements go. The engine may end it at any time, and nothing is lost by that.
import { NoodleError } from "../common/index.ts";
import { measure } from "./measure.ts";
import type { MeasureJob, MeasureMessage } from "./messages.ts";

/** Settles when the message is in the pipe: a process that dies later does not take it along. */
function send(message: MeasureMessage): Promise<void> {
  return new Promise((resolve, reject) => {
    process.send?.(message, undefined, undefined, (error) => (error === null ? resolve() : reject(error)));
  });
}

// Ctrl-C reaches the whole group; the parent decides what becomes of it.
process.on("SIGINT", () => undefined);
process.on("disconnect", () => process.exit(1));
process.once("message", (job: MeasureJob) => {
  measure(job, send)
    .catch((thrown: unknown) => send({ type: "failed", error: NoodleError.from(thrown).toJSON() }))
    .then(
      () => process.exit(0),
      () => process.exit(1),
    );
});
