import { JsonScanner } from "./json-scanner.ts";
import { parseJson, type ParsedToolCall, readArguments, readCalls } from "./read-call.ts";
import { STYLE_MARKERS } from "./tool-style.ts";
import type { ReasoningTags, ToolStyle } from "./types.ts";

export interface ChatOutputOptions {
  /** Null where no tools were given: braces and tags are then plain text. */
  readonly toolStyle: ToolStyle | null;
  /** A call of any other name is plain text. @default any name */
  readonly toolNames?: readonly string[];
  readonly reasoning: ReasoningTags | null;
  /** `RenderedPrompt.startsReasoning`. @default false */
  readonly startsReasoning?: boolean;
}

/** What can be told to the client; pieces of text are never empty. A call comes whole, as one piece. */
export type OutputPiece =
  | { readonly type: "content"; readonly text: string }
  | { readonly type: "reasoning"; readonly text: string }
  | { readonly type: "tool_call"; readonly index: number; readonly name: string; readonly arguments: string };

/** Takes a model's text apart while it comes. Bounded memory: one tag, or one call of at most 1 MiB. */
export interface ChatOutput {
  /** @returns what is certain now, in order */
  push(text: string): OutputPiece[];
  /**
   * @param isCut the text ends where there was no more room for it
   * @returns the rest; a call that has not come to its end is plain text, or nothing where it was cut off behind others
   */
  end(isCut?: boolean): OutputPiece[];
  /** Calls so far: with one or more, the finish reason is `tool_calls`. */
  readonly toolCalls: number;
}

export function openChatOutput(options: ChatOutputOptions): ChatOutput {
  return new OutputReader(options);
}

const MAX_CALL_CHARS = 1024 * 1024;
/** Members that a call can begin with. */
const CALL_MEMBERS = ["name", "type", "function", "arguments", "parameters", "id"];
const MISTRAL_NAME = /^\s*([A-Za-z0-9_-]{1,64})(?:\[CALL_ID\][A-Za-z0-9]*)?\[ARGS\]/;
const MISTRAL_NAME_BEGINNING = /^\s*[A-Za-z0-9_-]{0,64}(?:\[[A-Z_\]A-Za-z0-9]*)*$/;

/**
 * `start`      nothing but space has come: reasoning may begin
 * `reasoning`  between its tags
 * `begin`      the answer begins: with styles without tags, a call can begin only here or behind another call
 * `text`       plain text; a tag may come
 * `tagged`     behind `<tool_call>`, until its closing tag
 * `value`      a JSON value that may be a call, or several
 * `name`       behind `[TOOL_CALLS]`: a list, or a name and `[ARGS]`
 */
type Phase = "start" | "reasoning" | "begin" | "text" | "tagged" | "value" | "name";

class OutputReader implements ChatOutput {
  readonly #style: ToolStyle | null;
  readonly #marker: string | undefined;
  readonly #reasoning: ReasoningTags | null;
  readonly #isTool: (name: string) => boolean;
  #phase: Phase;
  /** What has come and is not told yet. */
  #held = "";
  /** What was taken off in front of `held` and belongs to the text again if this is no call. */
  #taken = "";
  #scanner = new JsonScanner();
  #scanned = 0;
  /** Name of the call whose arguments come, where it stands in front of them. */
  #name: string | undefined;
  /** Space between calls, or behind the reasoning, belongs to neither. */
  #dropsSpace = false;
  #calls = 0;
  /** Something has been told: space in front of it has been dropped. */
  #hasTold = false;
  #pieces: OutputPiece[] = [];

  constructor({ toolStyle, toolNames, reasoning, startsReasoning = false }: ChatOutputOptions) {
    this.#style = toolStyle;
    this.#marker = toolStyle === null ? undefined : STYLE_MARKERS[toolStyle][0];
    this.#reasoning = reasoning;
    this.#isTool = (name) => toolNames === undefined || toolNames.includes(name);
    this.#phase = reasoning === null ? "begin" : startsReasoning ? "reasoning" : "start";
  }

  get toolCalls(): number {
    return this.#calls;
  }

  push(text: string): OutputPiece[] {
    this.#held += text;
    while (this.#step());
    return this.#takePieces();
  }

  end(isCut = false): OutputPiece[] {
    while (this.#step());
    if (this.#phase === "tagged" && this.#addCalls(readCalls(this.#held, this.#isTool))) {
      this.#held = "";
      this.#taken = "";
    }
    if (this.#phase === "reasoning") this.#add("reasoning", this.#held.trimEnd());
    else if (!isCut || !this.#isAmongCalls()) this.#tell(this.#taken + this.#held);
    this.#held = "";
    this.#taken = "";
    return this.#takePieces();
  }

  /** What is held is the beginning of another call. */
  #isAmongCalls(): boolean {
    if (this.#calls === 0) return false;
    if (this.#phase === "tagged" || this.#phase === "value" || this.#phase === "name") return true;
    const held = this.#held.trimStart();
    return this.#dropsSpace && (this.#marker ?? "").startsWith(held);
  }

  /** @returns whether there may be more to do with what is held */
  #step(): boolean {
    switch (this.#phase) {
      case "start":
        return this.#start();
      case "reasoning":
        return this.#reason();
      case "begin":
        return this.#begin();
      case "text":
        return this.#readText();
      case "tagged":
        return this.#readTagged();
      case "name":
        return this.#readName();
      case "value":
        return this.#readValue();
    }
  }

  #start(): boolean {
    const tag = this.#reasoning?.open ?? "";
    const trimmed = this.#held.trimStart();
    if (trimmed.startsWith(tag)) return this.#go("reasoning", trimmed.slice(tag.length));
    return !tag.startsWith(trimmed) && this.#go("begin", this.#held);
  }

  #reason(): boolean {
    const tag = this.#reasoning?.close ?? "";
    if (!this.#hasTold) this.#held = this.#held.trimStart();
    const end = this.#held.indexOf(tag);
    if (end >= 0) {
      this.#add("reasoning", this.#held.slice(0, end).trimEnd());
      this.#dropsSpace = true;
      return this.#go("begin", this.#held.slice(end + tag.length));
    }
    // Space before the tag is not part of what was thought.
    const certain = this.#held.slice(0, findTail(this.#held, tag)).trimEnd();
    this.#add("reasoning", certain);
    this.#held = this.#held.slice(certain.length);
    return false;
  }

  #begin(): boolean {
    if (this.#style === null || this.#style === "hermes" || this.#style === "mistral")
      return this.#go("text", this.#held);
    // Calls stand one behind another with a semicolon or a comma between.
    const trimmed = this.#calls === 0 ? this.#held.trimStart() : this.#held.replace(/^[\s;,]+/, "");
    const marker = this.#marker ?? "";
    if (marker !== "" && trimmed.startsWith(marker))
      return this.#takeOff(this.#held.length - trimmed.length + marker.length, "value");
    if (trimmed === "" || (marker !== "" && marker.startsWith(trimmed))) return false;
    const isValue = trimmed.startsWith("{") || (this.#style === "json" && trimmed.startsWith("["));
    return isValue ? this.#takeOff(this.#held.length - trimmed.length, "value") : this.#go("text", this.#held);
  }

  #readText(): boolean {
    if (this.#dropsSpace) this.#held = this.#held.trimStart();
    if (this.#held === "") return false;
    const marker = this.#marker;
    if (marker === undefined) return this.#tellHeld(this.#held.length);
    const start = this.#held.indexOf(marker);
    if (start < 0) {
      const certain = this.#held.slice(0, findTail(this.#held, marker));
      return this.#tellHeld(certain.trimEnd().length);
    }
    this.#tell(this.#held.slice(0, start).trimEnd());
    const space = start - this.#held.slice(0, start).trimEnd().length;
    this.#held = this.#held.slice(start - space);
    return this.#takeOff(
      space + marker.length,
      this.#style === "hermes" ? "tagged" : this.#style === "mistral" ? "name" : "value",
    );
  }

  #readTagged(): boolean {
    const tag = STYLE_MARKERS.hermes[1] ?? "";
    for (let end = this.#held.indexOf(tag, this.#scanned); end >= 0; end = this.#held.indexOf(tag, this.#scanned)) {
      if (this.#addCalls(readCalls(this.#held.slice(0, end), this.#isTool)))
        return this.#go("text", this.#held.slice(end + tag.length));
      // The tag may stand within a text of the call.
      if (parseJson(this.#held.slice(0, end)) !== undefined) return this.#giveUp();
      this.#scanned = end + tag.length;
    }
    this.#scanned = Math.max(this.#scanned, this.#held.length - tag.length + 1);
    return this.#held.length > MAX_CALL_CHARS && this.#giveUp();
  }

  #readName(): boolean {
    const trimmed = this.#held.trimStart();
    if (trimmed.startsWith("[{") || trimmed.startsWith("{")) return this.#go("value", this.#held);
    const match = MISTRAL_NAME.exec(this.#held);
    if (match !== null) {
      this.#name = match[1];
      return this.#takeOff(match[0].length, "value");
    }
    if (/^\[\s*($|\{)/.test(trimmed)) return trimmed.endsWith("{") && this.#go("value", this.#held);
    return !MISTRAL_NAME_BEGINNING.test(this.#held) && this.#giveUp();
  }

  #readValue(): boolean {
    if (this.#scanned === 0 && !this.#looksLikeCall()) return this.#giveUp();
    const end = this.#scanner.scan(this.#held.slice(this.#scanned));
    if (end === undefined) {
      this.#scanned = this.#held.length;
      return this.#held.length > MAX_CALL_CHARS && this.#giveUp();
    }
    const text = this.#held.slice(0, this.#scanned + end);
    const args = this.#name === undefined ? undefined : readArguments(parseJson(text));
    const calls =
      this.#name === undefined
        ? readCalls(text, this.#isTool)
        : args === undefined || !this.#isTool(this.#name)
          ? undefined
          : [{ name: this.#name, arguments: args }];
    if (!this.#addCalls(calls)) return this.#giveUp();
    const rest = this.#held.slice(text.length);
    if (this.#style === "mistral") return this.#go("text", rest);
    // Behind a call there may be another.
    return this.#go("begin", rest);
  }

  /** An object of an answer is told at once when its first member is none of a call's. */
  #looksLikeCall(): boolean {
    if (this.#name !== undefined) return true;
    const first = /^[\s[]*(?:\{\s*(?:"((?:[^"\\]|\\.)*)("?))?)?/.exec(this.#held);
    const member = first?.[1];
    if (member === undefined) return true;
    return first?.[2] === '"' ? CALL_MEMBERS.includes(member) : CALL_MEMBERS.some((name) => name.startsWith(member));
  }

  #addCalls(calls: readonly ParsedToolCall[] | undefined): boolean {
    if (calls === undefined) return false;
    for (const call of calls) {
      this.#pieces.push({ type: "tool_call", index: this.#calls, name: call.name, arguments: call.arguments });
      this.#calls += 1;
    }
    this.#dropsSpace = true;
    return true;
  }

  /** It was no call: all of it is text. */
  #giveUp(): boolean {
    const marker = this.#marker;
    const held = this.#taken + this.#held;
    // What follows the tag may hold another.
    const begin =
      marker !== undefined && this.#taken.includes(marker) ? this.#taken.indexOf(marker) + marker.length : 0;
    this.#tell(held.slice(0, begin));
    return this.#go("text", held.slice(begin));
  }

  #takeOff(length: number, phase: Phase): boolean {
    const taken = this.#taken + this.#held.slice(0, length);
    this.#go(phase, this.#held.slice(length));
    this.#taken = taken;
    return true;
  }

  #go(phase: Phase, held: string): boolean {
    if (phase !== "value") this.#name = undefined;
    if (phase === "text" || phase === "begin") this.#taken = "";
    this.#phase = phase;
    this.#held = held;
    this.#scanner = new JsonScanner();
    this.#scanned = 0;
    return true;
  }

  #tellHeld(length: number): false {
    this.#tell(this.#held.slice(0, length));
    this.#held = this.#held.slice(length);
    return false;
  }

  #tell(text: string): void {
    const told = this.#dropsSpace ? text.trimStart() : text;
    if (told !== "") this.#dropsSpace = false;
    this.#add("content", told);
  }

  #add(type: "content" | "reasoning", text: string): void {
    this.#hasTold ||= text !== "";
    if (text !== "") this.#pieces.push({ type, text });
  }

  #takePieces(): OutputPiece[] {
    const pieces = this.#pieces;
    this.#pieces = [];
    return pieces;
  }
}

/** Where the longest end of `text` begins that is a beginning of `tag`; its length where there is none. */
function findTail(text: string, tag: string): number {
  for (let start = Math.max(0, text.length - tag.length + 1); start < text.length; start++) {
    if (tag.startsWith(text.slice(start))) return start;
  }
  return text.length;
}
