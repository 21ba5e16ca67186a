import type { NodeRecord } from "../../observe/index.ts";
import type { ReportChart } from "../document.ts";
import { cleanName } from "../names.ts";
import { capitalize, formatBytes, formatNumber } from "../numbers.ts";
import { paintOf } from "../paint.ts";
import { makeAxis, makeBars, makeLegend, makePanel, makeTable } from "./parts.ts";

const MIB = 2 ** 20;

/** What each worker's stage host holds: the last that it said of itself. */
export function chartWorkerMemory(nodes: readonly NodeRecord[]): ReportChart | null {
  const shown = nodes.filter(({ rssBytes }) => rssBytes > 0);
  if (shown.length === 0) return null;
  const kinds = [
    { name: "weights", paint: paintOf(0), pick: (node: NodeRecord) => node.weightsBytes },
    { name: "keys and values", paint: paintOf(2), pick: (node: NodeRecord) => node.kvBytes },
    { name: "compute buffers", paint: paintOf(4), pick: (node: NodeRecord) => node.computeBytes },
    {
      name: "program and the rest",
      paint: paintOf(5),
      pick: (node: NodeRecord) => Math.max(0, node.rssBytes - node.weightsBytes - node.kvBytes - node.computeBytes),
    },
  ];
  const labels = shown.map(({ name, units }) =>
    [cleanName(name, 24), ...(units === null ? [] : [cleanName(units, 16)])].join(", "),
  );
  const largest = shown.reduce((best, node) => (node.rssBytes > best.rssBytes ? node : best));
  return {
    id: "worker-memory",
    title: "Memory of each worker",
    sentence: `${capitalize(cleanName(largest.name, 24))} holds most: ${formatBytes(largest.rssBytes)} resident, of which ${formatBytes(largest.weightsBytes)} are weights and ${formatBytes(largest.kvBytes)} keys and values.`,
    note: "The last figures that each worker gave. Weights that lie in files count as resident only once they were read.",
    legend: kinds.map(({ name, paint }) => makeLegend(name, "bar", paint)),
    panels: [
      makePanel(
        "worker-memory-plot",
        makeAxis("MiB"),
        makeAxis("", { kind: "category", reversed: true }),
        kinds.map(({ name, paint, pick }) =>
          makeBars(name, paint, {
            horizontal: true,
            x: shown.map((node) => pick(node) / MIB),
            y: labels,
            hover: shown.map((node, index) => `${labels[index] ?? ""}, ${name}: ${formatBytes(pick(node))}`),
          }),
        ),
        { wide: true, height_px: 100 + 44 * shown.length },
      ),
    ],
    table: makeTable(
      "Memory of each worker, MiB",
      ["worker", ...kinds.map(({ name }) => `#${name}`), "#resident"],
      shown.map((node, index) => [
        labels[index] ?? "",
        ...kinds.map(({ pick }) => formatNumber(pick(node) / MIB)),
        formatNumber(node.rssBytes / MIB),
      ]),
    ),
  };
}
