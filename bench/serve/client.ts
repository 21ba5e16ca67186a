/** One request as its client saw it. */
export interface ClientTimes {
  /** From sending to the first token. */
  readonly ttftMs: number;
  /** Between the events that followed. Several tokens may come in one, where they are no whole characters alone. */
  readonly gapsMs: readonly number[];
  /** Tokens behind the first over the time behind the first. */
  readonly decodeTokensPerSec: number;
  /** From sending to the end of the answer. */
  readonly totalMs: number;
  /** Of the client's clock, for what several requests did together. */
  readonly sentMs: number;
  readonly endMs: number;
  readonly tokens: number;
}

export interface CompletionLoad {
  readonly model: string;
  readonly prompt: readonly number[];
  readonly maxTokens: number;
}

interface CompletionEvent {
  readonly choices?: readonly { readonly text: string; readonly finish_reason: string | null }[];
  readonly usage?: { readonly completion_tokens: number } | null;
}

/** `POST /v1/completions`, streamed, the same body for every server: token ids in, end-of-text ignored, no cache. */
export async function complete(url: string, load: CompletionLoad): Promise<ClientTimes> {
  const sentMs = performance.now();
  const response = await fetch(`${url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      model: load.model,
      prompt: load.prompt,
      max_tokens: load.maxTokens,
      temperature: 0,
      stream: true,
      stream_options: { include_usage: true },
      ignore_eos: true,
      cache_prompt: false,
    }),
  });
  if (!response.ok || response.body === null)
    throw new Error(`${url} answered ${response.status}: ${await response.text()}`);
  let text = "";
  let firstMs: number | null = null;
  let lastMs = sentMs;
  let tokens = 0;
  const gapsMs: number[] = [];
  const decoder = new TextDecoder();
  for await (const bytes of response.body) {
    text += decoder.decode(bytes, { stream: true });
    const lines = text.split("\n");
    text = lines.pop() ?? "";
    for (const line of lines) {
      if (!line.startsWith("data: ") || line === "data: [DONE]") continue;
      const event = JSON.parse(line.slice(6)) as CompletionEvent;
      if (event.usage) tokens = event.usage.completion_tokens;
      const choice = event.choices?.[0];
      // The end is told by an event of its own here, together with the last token there.
      if (choice === undefined || (choice.text === "" && choice.finish_reason !== null)) continue;
      const nowMs = performance.now();
      if (firstMs !== null) gapsMs.push(nowMs - lastMs);
      firstMs ??= nowMs;
      lastMs = nowMs;
    }
  }
  const endMs = performance.now();
  if (tokens !== load.maxTokens) throw new Error(`${url} gave ${tokens} of ${load.maxTokens} tokens`);
  const decodeTokensPerSec = firstMs === null || lastMs <= firstMs ? 0 : (1000 * (tokens - 1)) / (lastMs - firstMs);
  return {
    ttftMs: (firstMs ?? endMs) - sentMs,
    gapsMs,
    decodeTokensPerSec,
    totalMs: endMs - sentMs,
    sentMs,
    endMs,
    tokens,
  };
}
