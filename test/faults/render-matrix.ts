import { median } from "../../src/common/index.ts";
import { ABSENT_ROWS } from "./absent-rows.ts";
import type { RowResult, Trial } from "./types.ts";

/** The page `docs/fault-matrix.md`. */
export function renderMatrix(all: readonly RowResult[], machine: Readonly<Record<string, string | number>>): string {
  const results = all.filter(({ absent }) => absent === null);
  const absent = [
    ...ABSENT_ROWS,
    ...all.flatMap(({ row, fault, absent: why }) => (why === null ? [] : [{ row, fault, why }])),
  ].sort((a, b) => a.row - b.row);
  const trials = results.flatMap((result) => result.trials);
  const good = results.filter(isGoodRow).length;
  return `# Fault matrix

Written by \`npx tsx scripts/fault-matrix.ts\`: real worker processes, a real coordinator and the bundled model, mostly three
workers in \`--determinism strict\` and three streams (greedy, sampled, bound to a grammar); faults in links by the proxy of
\`src/shaper\`. Each row says what the coordinator named as the cause, the time from the fault to the first word of it, to
steps that can run again and to the next token of the stream that waited longest (median and worst over the trials), and how
many streams had the tokens and the keys and values (by SHA-256 of each layer) of a run without the fault.

${machine["cpu"]}, ${machine["cores"]} cores, Node ${machine["node"]}: ${good} of ${results.length} rows as expected, ${trials.filter(({ isGood }) => isGood).length} of ${trials.length} trials.

| # | fault | trials | cause named | detect ms | re-plan ms | next token ms | tokens equal | KV equal | verdict |
|---|---|---|---|---|---|---|---|---|---|
${results.map(renderRow).join("\n")}

## How, and what is expected

| # | how | expected |
|---|---|---|
${results.map(({ row, how, expected }) => `| ${row} | ${how} | ${expected} |`).join("\n")}

## What did not come as expected, and what else is to be said

${renderNotes(results)}

## Not done here

| # | fault | why |
|---|---|---|
${absent.map(({ row, fault, why }) => `| ${row} | ${fault} | ${why} |`).join("\n")}
`;
}

function isGoodRow({ trials, failure }: RowResult): boolean {
  return failure === null && trials.length > 0 && trials.every(({ isGood }) => isGood);
}

function renderRow(result: RowResult): string {
  const { row, fault, trials } = result;
  const causes = [...new Set(trials.map(({ cause }) => cause).filter((cause) => cause !== null))].join(", ");
  const share = (pick: (trial: Trial) => number | null): string => {
    const known = trials.filter((trial) => pick(trial) !== null);
    const streams = known.reduce((sum, trial) => sum + trial.streams, 0);
    return streams === 0 ? "-" : `${known.reduce((sum, trial) => sum + (pick(trial) ?? 0), 0)}/${streams}`;
  };
  const times = [
    renderTimes(trials.map(({ detectMs }) => detectMs)),
    renderTimes(trials.map(({ replanMs }) => replanMs)),
    renderTimes(trials.map(({ nextTokenMs }) => nextTokenMs)),
  ];
  const verdict = isGoodRow(result) ? "as expected" : "**NOT as expected**";
  const same = [share(({ sameTokens }) => sameTokens), share(({ sameKv }) => sameKv)];
  return `| ${[row, fault, trials.length, causes === "" ? "-" : causes, ...times, ...same, verdict].join(" | ")} |`;
}

function renderTimes(times: readonly (number | null)[]): string {
  const known = times.filter((ms) => ms !== null);
  if (known.length === 0) return "-";
  return `${Math.round(median(known))} / ${Math.round(Math.max(...known))}`;
}

function renderNotes(results: readonly RowResult[]): string {
  const lines = results.flatMap(({ row, trials, failure }) => [
    ...trials
      .filter(({ note }) => note !== null)
      .map(
        ({ what, note, isGood }) => `- ${row}, ${what}${isGood ? "" : " (not as expected)"}: ${oneLine(note ?? "")}`,
      ),
    ...(failure === null ? [] : [`- ${row}, not run to its end: ${oneLine(failure)}`]),
  ]);
  return lines.length === 0 ? "Nothing." : lines.join("\n");
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, " ").replaceAll("|", "/");
}
