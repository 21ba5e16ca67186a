export { createLoop } from "./create-loop.ts";
export { refineCosts, type RefinedClass, type Refinement, type StageSample } from "./refine.ts";
export type {
  LinkFactor,
  Loop,
  LoopCosts,
  LoopDecision,
  LoopEvent,
  LoopEventKind,
  LoopLoad,
  LoopLook,
  LoopMode,
  LoopMove,
  LoopOptions,
  LoopPlan,
  LoopStage,
  LoopStageTimes,
  LoopStep,
  NodeFactor,
} from "./types.ts";
