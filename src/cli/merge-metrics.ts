import type { MetricsSource } from "./metrics-server.ts";

interface NamedSource {
  readonly name: string;
  readonly source: MetricsSource;
}

const SAMPLE = /^([A-Za-z_:][\w:]*)(\{.*\})?( .*)$/;
const COMMENT = /^# (?:HELP|TYPE) (\S+)/;

/** One source of several, in Prometheus' text format: each sample gets `label` with the name of its source. */
export function mergeMetrics(label: string, sources: readonly NamedSource[]): MetricsSource {
  return {
    contentType: sources[0]?.source.contentType ?? "text/plain; version=0.0.4; charset=utf-8",
    render: async () => {
      const texts = await Promise.all(sources.map(({ source }) => source.render()));
      return mergeTexts(sources.map(({ name }, index) => ({ mark: markOf(label, name), text: texts[index] ?? "" })));
    },
  };
}

function markOf(label: string, name: string): string {
  return `${label}="${name.replace(/["\\]/g, "\\$&")}"`;
}

/** A family's comments come once, with the samples of all models behind them. */
function mergeTexts(texts: readonly { readonly mark: string; readonly text: string }[]): string {
  const families = new Map<string, { readonly comments: string[]; readonly samples: string[] }>();
  for (const [index, { mark, text }] of texts.entries()) {
    let family = "";
    for (const line of text.split("\n")) {
      const named = COMMENT.exec(line)?.[1];
      if (named !== undefined) family = named;
      const known = families.get(family) ?? { comments: [], samples: [] };
      families.set(family, known);
      if (named !== undefined) {
        if (index === 0 || !known.comments.includes(line)) known.comments.push(line);
        continue;
      }
      const [, name, labels, value] = SAMPLE.exec(line) ?? [];
      if (name === undefined) continue;
      known.samples.push(`${name}${labels === undefined ? `{${mark}}` : `{${mark},${labels.slice(1)}`}${value}`);
    }
  }
  const lines = [...families.values()].flatMap(({ comments, samples }) => [...comments, ...samples]);
  return `${lines.join("\n")}\n`;
}
