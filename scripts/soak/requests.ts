/** A completion as the soak asks for it, always as a stream. */
export interface SoakBody {
  readonly prompt: string;
  readonly max_tokens: number;
  readonly stream: true;
  readonly ignore_eos: true;
  readonly timings: false;
  readonly temperature: number;
  readonly seed: number;
  readonly grammar?: string;
}

export interface SoakRequest {
  /** Greedy, sampled, or bound to a grammar. */
  readonly kind: "greedy" | "sampled" | "grammar";
  readonly body: SoakBody;
}

const GRAMMAR = 'root ::= word (" " word)*\nword ::= [a-z]{2,9}';
const BEGINNINGS = [
  "Once upon a time",
  "The little dog",
  "There was a king who had three sons, and the youngest of them",
  "A list of words:",
  "In a small house by the sea there lived an old woman. Every morning she went down to the water, and every evening",
];
const KINDS = ["greedy", "sampled", "grammar"] as const;

/** Requests of all kinds, short and long ones, the same at every call. */
export function makeRequests(count: number): readonly SoakRequest[] {
  return Array.from({ length: count }, (_, index) => {
    const kind = KINDS[index % KINDS.length] ?? "greedy";
    const prompt = BEGINNINGS[(index * 2) % BEGINNINGS.length] ?? "Once";
    const common = { stream: true, ignore_eos: true, timings: false, seed: 100 + index } as const;
    const body = { ...common, prompt, max_tokens: 60 + ((index * 53) % 240), temperature: kind === "greedy" ? 0 : 0.8 };
    return { kind, body: kind === "grammar" ? { ...body, grammar: GRAMMAR } : body };
  });
}
