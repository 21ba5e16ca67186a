import type { Judgement } from "./judge.ts";

/** A figure that is held against its goal. */
export interface GoalFigure {
  readonly name: string;
  readonly value: number;
  readonly limit: number;
  /** `most`: the value must not be above the limit. */
  readonly side: "most" | "least";
  readonly met: boolean;
}

/** What a prediction has to be worth. */
export function holdAgainstGoals({ errors, rankCorrelation, regret }: Judgement): readonly GoalFigure[] {
  const goals = [
    { name: "throughput, mean |error|", value: errors.tokensPerSec.meanAbsolute, limit: 0.05, side: "most" },
    { name: "throughput, max |error|", value: errors.tokensPerSec.maxAbsolute, limit: 0.1, side: "most" },
    { name: "token to token, mean |error|", value: errors.itlMs.meanAbsolute, limit: 0.05, side: "most" },
    { name: "first token, mean |error|", value: errors.ttftMs.meanAbsolute, limit: 0.1, side: "most" },
    { name: "rank correlation", value: rankCorrelation, limit: 0.95, side: "least" },
    { name: "plan regret", value: regret, limit: 0.02, side: "most" },
  ] as const;
  return goals.map((goal) => ({
    ...goal,
    met: goal.side === "most" ? goal.value <= goal.limit : goal.value >= goal.limit,
  }));
}
