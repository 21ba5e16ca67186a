/** What the demo measured, as far as the verdict depends on it. */
export interface SplitFigures {
  readonly workers: number;
  /** Through the workers, and undivided in one process with the same threads. */
  readonly pipelineTokensPerSec: number;
  readonly undividedTokensPerSec: number;
  /** Of one token, in the median, all stages together. */
  readonly computeMs: number;
  readonly largestStageBytes: number;
  readonly modelBytes: number;
}

/** Honest words about whether the split was worth it here: sentences, in order. */
export function judgeSplit(figures: SplitFigures): readonly string[] {
  const { workers, pipelineTokensPerSec, undividedTokensPerSec, computeMs, largestStageBytes, modelBytes } = figures;
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
  const tokenMs = pipelineTokensPerSec > 0 ? 1000 / pipelineTokensPerSec : 0;
  if (tokenMs > 0) {
    const share = Math.min(100, (computeMs / tokenMs) * 100);
    words.push(
      `Of the ${tokenMs.toFixed(2)} ms between two tokens, the stages computed ${share.toFixed(0)}%; the rest went into queues, hops and the way back. A larger model computes longer for the same hops.`,
    );
  }
  words.push(
    `What it bought is memory: the largest stage holds ${((largestStageBytes / modelBytes) * 100).toFixed(0)}% of the model, so a model runs that no single machine holds.`,
  );
  return words;
}
