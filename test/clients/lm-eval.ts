/**
 * The requests of lm-evaluation-harness' `local-completions`, and what it makes of the answers: written down from its
 * behaviour, so that a server that satisfies this satisfies it.
 */
export interface Scored {
  readonly logprob: number;
  readonly isGreedy: boolean;
}

interface ScoreAnswer {
  readonly choices: {
    readonly index: number;
    readonly logprobs: {
      readonly token_logprobs: (number | null)[];
      readonly top_logprobs: (Record<string, number> | null)[];
    };
  }[];
}

export class LmEval {
  readonly #baseUrl: string;
  readonly #model: string;

  /** @param baseUrl with `/v1` */
  constructor(baseUrl: string, model: string) {
    this.#baseUrl = baseUrl;
    this.#model = model;
  }

  /** What its remote tokenizer asks for. */
  async encode(text: string): Promise<number[]> {
    const url = this.#baseUrl.replace(/\/v1$/, "");
    const { tokens } = await this.#post<{ tokens: number[] }>(`${url}/tokenize`, {
      prompt: text,
      add_special_tokens: false,
    });
    return tokens;
  }

  async decode(tokens: readonly number[]): Promise<string> {
    const url = this.#baseUrl.replace(/\/v1$/, "");
    return (await this.#post<{ prompt: string }>(`${url}/detokenize`, { tokens })).prompt;
  }

  async readTokenizerInfo(): Promise<Record<string, unknown>> {
    const answer = await fetch(`${this.#baseUrl.replace(/\/v1$/, "")}/tokenizer_info`);
    return (await answer.json()) as Record<string, unknown>;
  }

  /** Log-likelihood of each continuation behind its context, several in one request. */
  async score(
    pairs: readonly { readonly context: readonly number[]; readonly continuation: readonly number[] }[],
  ): Promise<Scored[]> {
    const answer = await this.#post<ScoreAnswer>(`${this.#baseUrl}/completions`, {
      model: this.#model,
      prompt: pairs.map(({ context, continuation }) => [...context, ...continuation]),
      temperature: 0,
      max_tokens: 1,
      logprobs: 1,
      seed: 1234,
      echo: true,
    });
    const ordered = answer.choices.toSorted((a, b) => a.index - b.index);
    return ordered.map(({ logprobs }, place) => {
      const start = pairs[place]?.context.length ?? 0;
      const own = logprobs.token_logprobs.slice(start, -1).map((value) => value ?? Number.NaN);
      const best = logprobs.top_logprobs.slice(start, -1).map((top) => Math.max(...Object.values(top ?? {})));
      return {
        logprob: own.reduce((total, value) => total + value, 0),
        isGreedy: own.every((value, i) => value === best[i]),
      };
    });
  }

  /** Text until one of the stops. */
  async generate(prompt: readonly number[], until: readonly string[], maxTokens: number): Promise<string> {
    const answer = await this.#post<{ choices: { text: string }[] }>(`${this.#baseUrl}/completions`, {
      model: this.#model,
      prompt: [prompt],
      max_tokens: maxTokens,
      temperature: 0,
      stop: until,
      seed: 1234,
    });
    return answer.choices[0]?.text ?? "";
  }

  async #post<T>(url: string, body: object): Promise<T> {
    const headers = { "content-type": "application/json", authorization: "Bearer EMPTY" };
    const answer = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(`${answer.status}: ${await answer.text()}`);
    return (await answer.json()) as T;
  }
}
