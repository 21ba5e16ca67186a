import { z } from "zod";
import type { GenerationIdentity } from "./live/index.ts";

const ORIGIN = z.object({
  v: z.literal(1),
  path: z.string(),
  body: z.record(z.string(), z.unknown()),
  id: z.string(),
  created: z.int(),
  bodySha256: z.string(),
  key: z.string().nullable(),
  /** Which choice of the response it is. */
  choice: z.int().min(0),
});

/** What a generation is a part of, as a journal keeps it. */
export interface RequestOrigin {
  readonly path: string;
  /** As it was sent. */
  readonly body: object;
  readonly identity: GenerationIdentity;
  readonly choice: number;
}

/** JSON for `GenerateRequest.origin`. */
export function writeOrigin({ path, body, identity, choice }: RequestOrigin): object {
  const { id, created, bodySha256, key } = identity;
  return { v: 1, path, body, id, created, bodySha256, key, choice };
}

/** @returns null for what another release wrote, or somebody else */
export function readOrigin(origin: unknown, client: string): RequestOrigin | null {
  const result = ORIGIN.safeParse(origin);
  if (!result.success) return null;
  const { path, body, id, created, bodySha256, key, choice } = result.data;
  return { path, body, identity: { id, created, client, bodySha256, key }, choice };
}
