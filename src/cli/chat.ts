import { NoodleError } from "../common/index.ts";
import { type ApiClient, isObject } from "./api-client.ts";
import type { CommandContext } from "./command.ts";
import { Conversation, readChatInput } from "./conversation.ts";
import type { LineReader } from "./line-reader.ts";
import { stripControls } from "./plain-text.ts";
import { countNoun } from "./quantities.ts";
import { describeAnswer, type StreamedAnswer, streamAnswer, TEXT_TOKENS } from "./streamed-answer.ts";
import { writeWhole } from "./write-whole.ts";

export interface ChatParts {
  readonly context: CommandContext;
  readonly client: ApiClient;
  readonly lines: LineReader;
  /** Id of the model. */
  readonly model: string;
  readonly system: string | null;
  /** Fields of every request. */
  readonly body: Readonly<Record<string, unknown>>;
}

const HELP = [
  "/reset         forget the conversation",
  "/system TEXT   what the model is told before it; without a text: show it, - takes it away",
  "/save FILE     write the conversation as JSON",
  "/stats         tokens and times of this chat",
  "/exit          leave (as Ctrl-D)",
  "Ctrl-C stops an answer, twice leaves; a line that ends with \\ goes on in the next one",
].join("\n");

/** A conversation in the terminal: answers on stdout, all else beside it. */
export class Chat {
  readonly #parts: ChatParts;
  readonly #conversation: Conversation;
  readonly #answers: StreamedAnswer[] = [];
  readonly #leave = new AbortController();
  /** Of the answer that streams now. */
  #answering: AbortController | null = null;
  #interrupts = 0;
  /** null = nobody has asked yet. */
  #hasTemplate: boolean | null = null;

  constructor(parts: ChatParts) {
    this.#parts = parts;
    this.#conversation = new Conversation(parts.system);
  }

  /** Talks until the input ends or somebody leaves. @throws INTERRUPTED, the errors of an answer where nobody sits at a keyboard */
  async run(): Promise<void> {
    const { lines, context, model } = this.#parts;
    const { out, signal } = context;
    const stop = AbortSignal.any([signal, this.#leave.signal]);
    lines.onInterrupt(() => this.#interrupt());
    if (lines.isTty) out.note(`${stripControls(model)}: /help says what there is besides talking`);
    stop.addEventListener("abort", () => lines.close(), { once: true });
    for (;;) {
      const line = await this.#readInput();
      stop.throwIfAborted();
      if (line === null || !(await this.#obey(line, stop))) break;
    }
    out.document({
      schema: "noodle.chat.v1",
      model,
      messages: this.#conversation.messages,
      ...this.#sumUp(),
    });
  }

  async #readInput(): Promise<string | null> {
    const { lines } = this.#parts;
    let text = "";
    for (let line = await lines.next("> "); ; line = await lines.next(". ")) {
      if (line === null) return text === "" ? null : text;
      this.#interrupts = 0;
      if (!line.endsWith("\\")) return text + line;
      text += `${line.slice(0, -1)}\n`;
    }
  }

  /** @returns false when it is time to leave */
  async #obey(line: string, stop: AbortSignal): Promise<boolean> {
    const { context, lines } = this.#parts;
    try {
      const input = readChatInput(line);
      switch (input.type) {
        case "nothing":
          return true;
        case "exit":
          return false;
        case "say":
          await this.#say(input.text, stop);
          return true;
        case "reset":
          this.#conversation.reset();
          return true;
        case "system":
          if (input.text === null) this.#note(this.#conversation.system ?? "none");
          else this.#conversation.system = input.text === "" ? null : input.text;
          return true;
        case "save":
          await this.#save(input.path);
          return true;
        case "stats":
          this.#note(this.#describeStats());
          return true;
        case "help":
          this.#note(HELP);
          return true;
        default:
          return input satisfies never;
      }
    } catch (error) {
      // At a keyboard one can try again; a script must not go on as if nothing was.
      if (!lines.isTty || stop.aborted) throw error;
      context.out.error(NoodleError.from(error));
      return true;
    }
  }

  async #say(text: string, stop: AbortSignal): Promise<void> {
    const { host, out } = this.#parts.context;
    this.#conversation.ask(text);
    this.#answering = new AbortController();
    const answering = AbortSignal.any([stop, this.#answering.signal]);
    const show = (piece: string): void => out.data(host.stdout.isTty ? stripControls(piece) : piece);
    try {
      const answer = await this.#ask(answering, show);
      stop.throwIfAborted();
      if (answer.text === "" && answer.finishReason === null) this.#conversation.takeBack();
      else this.#conversation.answer(answer.text);
      this.#answers.push(answer);
      out.line();
      if (host.stderr.isTty) this.#note(`\u001b[2m${describeAnswer(answer)}\u001b[22m`);
    } catch (error) {
      this.#conversation.takeBack();
      throw error;
    } finally {
      this.#answering = null;
    }
  }

  async #ask(signal: AbortSignal, onText: (text: string) => void): Promise<StreamedAnswer> {
    const { client, model, body, context } = this.#parts;
    const common = { client, onText, nowMs: () => context.host.nowMs() };
    if (await this.#canChat(signal)) {
      const { messages } = this.#conversation;
      return streamAnswer({ ...common, path: "v1/chat/completions", body: { ...body, model, messages } }, signal);
    }
    const prompt = this.#conversation.text;
    return streamAnswer(
      { ...common, path: "v1/completions", body: { max_tokens: TEXT_TOKENS, ...body, model, prompt } },
      signal,
    );
  }

  /** Whether the model has a chat template. */
  async #canChat(signal: AbortSignal): Promise<boolean> {
    if (this.#hasTemplate === null) {
      const { client, model } = this.#parts;
      const facts = await client.ask("GET", `tokenizer_info?model=${encodeURIComponent(model)}`, undefined, signal);
      this.#hasTemplate = !isObject(facts) || facts["chat_template"] !== null;
      if (!this.#hasTemplate) this.#note("the model has no chat template: it goes on with what is said");
    }
    return this.#hasTemplate;
  }

  #interrupt(): void {
    this.#interrupts += 1;
    if (this.#interrupts > 1) this.#leave.abort(new NoodleError("INTERRUPTED", "left by Ctrl-C"));
    else if (this.#answering !== null) this.#answering.abort();
    else this.#note("Ctrl-C once more leaves");
  }

  async #save(path: string): Promise<void> {
    const document = { schema: "noodle.chat.v1", model: this.#parts.model, messages: this.#conversation.messages };
    await writeWhole(path, `${JSON.stringify(document, null, 2)}\n`);
    this.#note(`${path}: ${countNoun(document.messages.length, "message")}`);
  }

  #sumUp() {
    const add = (read: (answer: StreamedAnswer) => number): number =>
      this.#answers.reduce((total, answer) => total + read(answer), 0);
    return {
      answers: this.#answers.length,
      prompt_tokens: add(({ promptTokens }) => promptTokens),
      cached_tokens: add(({ cachedTokens }) => cachedTokens),
      completion_tokens: add(({ completionTokens }) => completionTokens),
      last: this.#answers.at(-1)?.timings ?? null,
    };
  }

  #describeStats(): string {
    const { answers, prompt_tokens, cached_tokens, completion_tokens, last } = this.#sumUp();
    const lines = [
      `${countNoun(answers, "answer")}, ${countNoun(completion_tokens, "token")}${prompt_tokens === 0 ? "" : `; prompts had ${prompt_tokens}, of which ${cached_tokens} were there already`}`,
      ...this.#answers.slice(-1).map((answer) => `the last one: ${describeAnswer(answer)}`),
    ];
    const stages: unknown = last?.["stages"];
    if (Array.isArray(stages)) lines.push(...stages.map((stage: unknown) => describeStage(stage)));
    return lines.join("\n");
  }

  #note(text: string): void {
    this.#parts.context.out.note(text);
  }
}

function describeStage(stage: unknown): string {
  const fields: Readonly<Record<string, unknown>> = typeof stage === "object" && stage !== null ? { ...stage } : {};
  const read = (name: string): number => Number(fields[name]);
  const name = stripControls(String(fields["name"]));
  const share = `${(read("share") * 100).toFixed(0)}%`;
  return `  ${name}: units ${read("first_unit")}:${read("end_unit")}, ${read("compute_ms_p50").toFixed(2)} ms of compute a token, ${share} of all stages`;
}
