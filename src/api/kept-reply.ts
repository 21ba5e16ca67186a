import { z } from "zod";
import { NoodleError } from "../common/index.ts";
import type { LiveGeneration } from "./live/index.ts";

const KEPT = z.union([
  z.object({ v: z.literal(1), whole: z.string() }),
  z.object({ v: z.literal(1), choices: z.int().min(1), events: z.array(z.tuple([z.int().min(0), z.string()])) }),
]);

type KeptReply = z.infer<typeof KEPT>;

/** A response as it is kept. @returns null for a stream whose first events are gone */
export function writeKept({ stream }: LiveGeneration, whole: string | null): string | null {
  if (whole !== null) return JSON.stringify({ v: 1, whole } satisfies KeptReply);
  const log = stream?.log ?? null;
  if (log === null || !log.isWhole) return null;
  const events = log.events.map(({ choice, data }): [number, string] => [choice, data]);
  return JSON.stringify({ v: 1, choices: log.choices, events } satisfies KeptReply);
}

/** @throws INTERNAL for a text that was not written here */
export function readKept(text: string): KeptReply {
  const result = KEPT.safeParse(JSON.parse(text));
  if (result.success) return result.data;
  throw new NoodleError("INTERNAL", "the kept reply of this request is none");
}

/** Gives a generation the response of one that has ended. @returns its JSON where it comes whole */
export function fillKept({ stream }: LiveGeneration, kept: KeptReply): string | null {
  if ("whole" in kept) return kept.whole;
  stream?.begin(kept.choices);
  for (const [choice, data] of kept.events) stream?.replay(choice, data);
  return null;
}
