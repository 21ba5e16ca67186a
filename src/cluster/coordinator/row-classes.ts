import { z } from "zod";
import type { RowClasses } from "../../schedule/index.ts";

const count = z.int().min(1).max(65_536);

const RULE = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("uniform") }),
  z.object({ kind: z.literal("rows-at-least"), rows: count }),
  z.object({ kind: z.literal("full-groups"), group: count }),
  z.object({ kind: z.literal("table"), classes: z.record(z.string(), z.array(z.int())) }),
]);

const ROW_CLASSES = z.object({
  schema: z.literal("noodle.row_classes.v1"),
  engine_build: z.string(),
  cpu_variant: z.string(),
  threads: count,
  probe_ms: z.number(),
  weights: z.array(z.object({ type: z.string(), experts: z.boolean(), rule: RULE })),
  attention: z.object({ tiledRows: count.nullable(), splitCells: count.nullable(), cellStep: count }),
});

/** What a worker says of its stage's row classes. @returns null when it says nothing that makes sense */
export function readRowClasses(json: string): RowClasses | null {
  if (json === "") return null;
  try {
    const parsed = ROW_CLASSES.safeParse(JSON.parse(json));
    return parsed.success ? parsed.data : null;
  } catch {
    return null;
  }
}
