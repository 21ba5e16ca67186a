import type { PlanRow } from "./records.ts";
import { checkSum, sumOf } from "./row-sum.ts";
import type { Sqlite } from "./sqlite.ts";

/** Plans that are remembered. */
const KEPT_PLANS = 1000;
/** Models whose holders are remembered. */
const KEPT_MODELS = 64;

/** Commits a plan and who holds its stages. Belongs to a transaction of the caller's. */
export function writePlan(db: Sqlite, term: number, { epoch, model, stages }: PlanRow, nowMs: number): void {
  const text = JSON.stringify(stages);
  const sum = sumOf(epoch, term, model, text);
  db.run("INSERT INTO plans VALUES (?, ?, ?, ?, ?, ?)", epoch, term, nowMs, model, text, sum);
  db.run("DELETE FROM plans WHERE epoch <= (SELECT epoch FROM plans ORDER BY epoch DESC LIMIT 1 OFFSET ?)", KEPT_PLANS);
  db.run("DELETE FROM holders WHERE model = ?", model);
  for (const { units, nodeId } of stages) {
    if (nodeId !== null) db.run("INSERT OR REPLACE INTO holders VALUES (?, ?, ?)", model, units, nodeId);
  }
  db.run(
    `DELETE FROM holders WHERE model NOT IN (
       SELECT model FROM plans GROUP BY model ORDER BY max(epoch) DESC LIMIT ${KEPT_MODELS})`,
  );
}

/** The last committed plan; null before the first. @throws STATE_DAMAGED */
export function readLastPlan(db: Sqlite): PlanRow | null {
  const row = db.get("SELECT * FROM plans ORDER BY epoch DESC LIMIT 1");
  if (row === undefined) return null;
  const epoch = Number(row["epoch"]);
  const model = String(row["model"]);
  const text = String(row["stages"]);
  checkSum(`plan ${epoch}`, row["sum"], epoch, Number(row["term"]), model, text);
  return { epoch, model, stages: JSON.parse(text) as PlanRow["stages"] };
}

/** Units as the split is written, and the id of the node that held them last. */
export function readHolders(db: Sqlite, model: string): ReadonlyMap<string, string> {
  const rows = db.all("SELECT units, node_id FROM holders WHERE model = ?", model);
  return new Map(rows.map((row) => [String(row["units"]), String(row["node_id"])]));
}
