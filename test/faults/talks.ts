import { NoodleError } from "../../src/common/index.ts";
import { areNext, readStream, readTexts, type Served, type StreamEvent } from "./served.ts";
import type { Trial } from "./types.ts";

/** What a client asks of `POST /v1/completions`, streamed. */
export interface Talk {
  readonly name: string;
  readonly body: object;
}

const LIMIT_MS = 60_000;

/** Greedy, sampled, with a grammar, several choices, a stop text. */
export function makeTalks(maxTokens: number): readonly Talk[] {
  const common = { max_tokens: maxTokens, stream: true, ignore_eos: true, timings: false };
  const make = (name: string, prompt: string, more: object): Talk => ({ name, body: { prompt, ...common, ...more } });
  return [
    make("greedy", "Once upon a time", { temperature: 0 }),
    make("sampled", "The little dog", { temperature: 1, seed: 3 }),
    make("grammar", "A list of words:", {
      temperature: 0.8,
      seed: 5,
      grammar: 'root ::= word (" " word)*\nword ::= [a-z]{2,9}',
    }),
    make("two choices", "One day", { temperature: 1, seed: 9, n: 2, max_tokens: Math.round(maxTokens / 2) }),
    make("stop text", "There was a girl", { temperature: 0, stop: ["zzzz", "the end of all stories"] }),
  ];
}

/** Reads an answer to its end, or to the end of its server. */
export async function talk(served: Served, { body }: Talk, onEvent?: () => void): Promise<StreamEvent[]> {
  const response = await served.post("completions", body);
  if (response?.status !== 200) {
    throw new NoodleError("INTERNAL", `a request was answered with ${response?.status ?? "nothing"}`);
  }
  return readStream(response, onEvent);
}

/** Goes on behind the last event that a client has, as soon as somebody gives what follows. */
export async function talkOn(served: Served, { body }: Talk, first: readonly StreamEvent[]): Promise<StreamEvent[]> {
  const last = first.at(-1);
  if (last === undefined || last.data === "[DONE]") return [...first];
  const answer = await served.until("the rest of a stream", LIMIT_MS, async () => {
    const response = await served.post("completions", body, { "last-event-id": last.id });
    if (response?.status === 200) return response;
    await response?.body?.cancel();
    return null;
  });
  return [...first, ...(await readStream(answer))];
}

/** Holds what clients heard against what they hear without a fault. */
export function judgeTalks(
  what: string,
  talks: readonly Talk[],
  heard: readonly (readonly StreamEvent[])[],
  alone: readonly (readonly StreamEvent[])[],
  times: Pick<Trial, "cause" | "detectMs" | "replanMs" | "nextTokenMs">,
  complaints: readonly (string | null)[] = [],
): Trial {
  const wrong = complaints.filter((complaint) => complaint !== null);
  let same = 0;
  for (const [index, { name }] of talks.entries()) {
    const events = heard[index] ?? [];
    const isSame = JSON.stringify(readTexts(events)) === JSON.stringify(readTexts(alone[index] ?? []));
    const isEnded = events.at(-1)?.data === "[DONE]";
    if (isSame && areNext(events) && isEnded) same += 1;
    else {
      const why = !isSame ? "another text" : isEnded ? "ids out of order" : "no end";
      const last = events.at(-1)?.data.slice(0, 120);
      wrong.push(`${name}: ${why}, ${events.length} events of ${alone[index]?.length ?? 0}, last ${last}`);
    }
  }
  return {
    what,
    ...times,
    streams: talks.length,
    sameTokens: same,
    sameKv: null,
    isGood: wrong.length === 0,
    note: wrong.length === 0 ? null : wrong.join("; ").slice(0, 400),
  };
}

/** From `sinceMs` to the end of the longest pause of the stream that waited longest. */
export function findPause(heard: readonly (readonly StreamEvent[])[], sinceMs: number): number | null {
  const ends = heard.flatMap((events) => {
    const times = [sinceMs, ...events.map(({ atMs }) => atMs).filter((atMs) => atMs >= sinceMs)];
    const pauses = times.slice(1).map((atMs, index) => ({ atMs, pauseMs: atMs - (times[index] ?? sinceMs) }));
    const longest = pauses.sort((a, b) => b.pauseMs - a.pauseMs)[0];
    return longest === undefined ? [] : [longest.atMs - sinceMs];
  });
  return ends.length === 0 ? null : Math.max(...ends);
}
