// Entry of the thread that compiles what comes from outside.
import { parentPort } from "node:worker_threads";
import { NoodleError } from "../common/index.ts";
import { runCompileTask, runRenderTask } from "./compile-task.ts";
import { packPrompt } from "./packed-prompt.ts";
import type { ThreadReply, ThreadTask } from "./compile-thread.ts";

parentPort?.on("message", (task: ThreadTask) => {
  let reply: ThreadReply;
  try {
    reply = { value: task.kind === "render" ? packPrompt(runRenderTask(task)) : runCompileTask(task) };
  } catch (error) {
    reply = { error: NoodleError.from(error).toJSON() };
  }
  parentPort?.postMessage(reply, []);
});
