/** Known mistakes, each made by replacing text in a production file that is there exactly once. */
export interface Mutation {
  readonly name: string;
  readonly file: string;
  readonly edits: readonly { readonly find: string; readonly replace: string }[];
}

const one = (name: string, file: string, find: string, replace: string): Mutation => ({
  name,
  file: `src/${file}`,
  edits: [{ find, replace }],
});

const STATE = "cluster/state";
const WORKER = "cluster/worker";
const COORDINATOR = "cluster/coordinator";

export const MUTATIONS: readonly Mutation[] = [
  one(
    "a stage takes streams and calls of an epoch that is over",
    `${WORKER}/stage-host.ts`,
    "const found = this.#active.get(epoch);",
    "const found = this.#active.get(epoch) ?? [...this.#active.values()].at(-1);",
  ),
  {
    name: "a step that comes twice is computed twice",
    file: `src/${WORKER}/step-rules.ts`,
    edits: [
      {
        find: "if (age === 0 && last !== undefined && last.position === step.position && last.rows === step.rows) {",
        replace: "if (age > 9) {",
      },
      {
        find: "if (step.position > nextPosition || (age === 0 && step.position < nextPosition)) {",
        replace: "if (age > 9) {",
      },
      { find: "return step.position < nextPosition\n    ?", replace: "return age > 9\n    ?" },
    ],
  },
  one(
    "two steps of one session are under way at once",
    `${WORKER}/step-queue.ts`,
    "if (next.keys.some((key) => this.#busy.has(key))) return;",
    "",
  ),
  one(
    "a failed step counts as computed",
    `${WORKER}/step-runner.ts`,
    "    } catch (error) {\n      for (const { session, decision } of computing) {",
    "    } catch (error) {\n      for (const { session, decision } of computing) {\n        if (decision.type === 'compute') session.position = decision.next;",
  ),
  one(
    "a stage does not close slots",
    `${WORKER}/session-keeper.ts`,
    "return { reply: this.#engine.closeSlot(slot, keepKv) };",
    "return { reply: Promise.resolve(0) };",
  ),
  one("a token goes out before it is in the journal", `${COORDINATOR}/journaled-events.ts`, "await next.written;", ""),
  one(
    "a row of the journal is lost",
    `${COORDINATOR}/journaled-events.ts`,
    "await journal.appendTokens(",
    "if (event.index !== 2) await journal.appendTokens(",
  ),
  one(
    "the coordinator does not free slots",
    `${COORDINATOR}/serving.ts`,
    "this.#book.release(slot, ",
    "((..._: unknown[]) => undefined)(slot, ",
  ),
  one(
    "one stage is not told of a session's end",
    `${COORDINATOR}/session-calls.ts`,
    "pipeline.stages.map((stage) => stage.closeSession(",
    "pipeline.stages.slice(1).map((stage) => stage.closeSession(",
  ),
  one(
    "notes tell another row class than was computed",
    `${COORDINATOR}/session-rows.ts`,
    "this.#notes.add(position, rows, place);",
    "this.#notes.add(position, rows, { callRows: place.callRows + 1, place: place.place });",
  ),
  one(
    "decode rows are not computed in whole blocks in strict",
    "schedule/decode-batch.ts",
    "return { members, pads: fillBlocks(members, policy) };",
    "return { members, pads: [] };",
  ),
  one(
    "a plan that was given up comes into force",
    `${STATE}/replan.ts`,
    "return { ...state, next: null, refused: fault, refusedLayouts: tried };",
    "return { ...state, plan: next.plan, next: null, refused: fault, refusedLayouts: tried };",
  ),
  one(
    "a plan is not committed",
    `${COORDINATOR}/assigner.ts`,
    "if (state.plan !== null && state.plan.epoch !== this.#committedEpoch) this.#commit(state.plan);",
    "",
  ),
  one(
    "leases are not renewed",
    `${STATE}/apply.ts`,
    "        lastHeardMs: event.nowMs,\n        rssBytes",
    "        rssBytes",
  ),
  one("leases never run out", `${STATE}/decide.ts`, "silentMs < state.config.leaseMs", "silentMs < Number.MAX_VALUE"),
  one(
    "a deadline ends nothing",
    `${COORDINATOR}/generation.ts`,
    'this.#deadline = setTimeout(() => this.cancel(new NoodleError("DEADLINE_EXCEEDED", text)), deadlineMs);',
    "void text;",
  ),
  one("a cancelled request goes on", `${COORDINATOR}/generation.ts`, "    this.#session?.fail(this.#cancelled);", ""),
  one(
    "a failed step's credit is lost",
    `${COORDINATOR}/pipeline.ts`,
    "if (!step.acknowledged) this.#unacknowledged -= 1;",
    "",
  ),
  one("an older fence's step is computed", `${WORKER}/step-rules.ts`, "if (age < 0) {", "if (age < -1e9) {"),
  one(
    "positions are refilled in another row class",
    "schedule/arrange-refill.ts",
    "return given.every((key, index) => key === this.#had[position + index]);",
    "return given.length > 0;",
  ),
  one(
    "a refilled session goes on before its first positions are there",
    `${COORDINATOR}/session-rows.ts`,
    "    this.#sent = 0;\n    this.#answered = 0;",
    "    this.#answered = 0;",
  ),
];
