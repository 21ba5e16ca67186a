/** What the demo measured, as far as the verdict depends on it. */
export interface SplitFigures {
  readonly workers: number;
  /** Through the workers, and undivided in one process with the same threads. */
  readonly pipelineTokensPerSec: number;
  readonly undividedTokensPerSec: number;
  /** Of one token, in the median, all stages together. */
  readonly computeMs: number;
  readonly waitMs: number;
  readonly largestStageBytes: number;
  readonly modelBytes: number;
}

/** Honest words about whether the split was worth it here: sentences, in order. */
export function judgeSplit(figures: SplitFigures): readonly string[] {
  const { workers, pipelineTokensPerSec, undividedTokensPerSec, computeMs, waitMs, largestStageBytes, modelBytes } =
    figures;
  const ratio = undividedTokensPerSec > 0 ? pipelineTokensPerSec / undividedTokensPerSec : 0;
  const rates = `${pipelineTokensPerSec.toFixed(0)} tokens/s through ${workers} workers, ${undividedTokensPerSec.toFixed(0)} undivided in one process: ${ratio.toFixed(2)} times the speed.`;
  const words = [rates];
  if (ratio < 0.98) {
    words.push(
      "For speed the split was not worth it here: a single stream passes the stages one after another, so they can't help each other.",
    );
  } else if (ratio <= 1.02) {
    words.push("For speed the split made no difference here.");
  } else {
    words.push(
      "The split was faster here; with one stream on one machine that is more likely noise, or a cooler core, than a gain.",
    );
  }
  if (computeMs + waitMs > 0) {
    const share = (waitMs / (computeMs + waitMs)) * 100;
    words.push(
      `Of a token's ${(computeMs + waitMs).toFixed(2)} ms, ${share.toFixed(0)}% went into queues and hops; a larger model computes longer for the same hops.`,
    );
  }
  words.push(
    `What it bought is memory: the largest stage holds ${((largestStageBytes / modelBytes) * 100).toFixed(0)}% of the model, so a model runs that no single machine holds.`,
  );
  return words;
}
