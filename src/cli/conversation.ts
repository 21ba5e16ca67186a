import { NoodleError } from "../common/index.ts";

export interface ChatMessage {
  readonly role: "system" | "user" | "assistant";
  readonly content: string;
}

/** What has been said, as the API wants to hear it. No I/O. */
export class Conversation {
  /** null = none. */
  system: string | null;
  readonly #turns: ChatMessage[] = [];

  constructor(system: string | null) {
    this.system = system;
  }

  get messages(): readonly ChatMessage[] {
    return this.system === null ? this.#turns : [{ role: "system", content: this.system }, ...this.#turns];
  }

  /** All of it as one text, for a model that goes on with text and knows no roles. */
  get text(): string {
    return this.messages.map(({ content }) => content).join("");
  }

  ask(content: string): void {
    this.#turns.push({ role: "user", content });
  }

  answer(content: string): void {
    this.#turns.push({ role: "assistant", content });
  }

  /** Takes back a question that got no answer. */
  takeBack(): void {
    if (this.#turns.at(-1)?.role === "user") this.#turns.pop();
  }

  /** The system prompt stays. */
  reset(): void {
    this.#turns.length = 0;
  }
}

/** What a line of a chat asks for. */
export type ChatInput =
  | { readonly type: "say"; readonly text: string }
  | { readonly type: "reset" | "stats" | "help" | "exit" | "nothing" }
  /** `text` null = show it, "" = none from now on. */
  | { readonly type: "system"; readonly text: string | null }
  | { readonly type: "save"; readonly path: string };

/** @throws NoodleError `USAGE` for a command that there is not */
export function readChatInput(line: string): ChatInput {
  if (line.trim() === "") return { type: "nothing" };
  if (!line.startsWith("/")) return { type: "say", text: line };
  if (line.startsWith("//")) return { type: "say", text: line.slice(1) };
  const [, name = "", rest = ""] = /^\/(\S*)\s*([^]*)$/.exec(line) ?? [];
  switch (name) {
    case "reset":
    case "stats":
    case "help":
      return { type: name };
    case "exit":
    case "quit":
    case "bye":
      return { type: "exit" };
    case "system":
      return { type: "system", text: rest === "" ? null : rest === "-" ? "" : rest };
    case "save":
      if (rest !== "") return { type: "save", path: rest };
      throw new NoodleError("USAGE", "/save FILE: the file's name is missing");
    default:
      throw new NoodleError("USAGE", `there is no /${name}; /help lists what there is, //${name} says it to the model`);
  }
}
