import { NoodleError } from "../../common/index.ts";

/** Streams of more choices have no ids, since an id names how far each of them is. */
export const MAX_NUMBERED_CHOICES = 16;

/** Where a reader of a generation's events stands: how many it has of each choice. */
export interface EventPosition {
  readonly generationId: string;
  readonly counts: readonly number[];
}

const EVENT_ID = /^([A-Za-z0-9_-]{1,64}):(\d{1,9}(?:\.\d{1,9}){0,15})$/;

export function writeEventId({ generationId, counts }: EventPosition): string {
  return `${generationId}:${counts.join(".")}`;
}

/** @throws REQUEST_INVALID for a text that is the id of no event */
export function readEventId(text: string): EventPosition {
  const [, generationId, counts] = EVENT_ID.exec(text) ?? [];
  if (generationId !== undefined && counts !== undefined) {
    return { generationId, counts: counts.split(".").map(Number) };
  }
  const got = JSON.stringify(text.slice(0, 64));
  throw new NoodleError("REQUEST_INVALID", `Last-Event-ID is ${got}, it must be the id of an event: GENERATION:INDEX`, {
    details: { param: "Last-Event-ID" },
  });
}
