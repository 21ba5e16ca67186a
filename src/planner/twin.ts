import type { Problem } from "./document.ts";

/** The problem with one more node like `id`: its links too; between the two the default. */
export function addTwin(problem: Problem, id: string): Problem {
  const index = problem.nodes.findIndex((node) => node.id === id);
  const node = problem.nodes[index];
  if (node === undefined) return problem;
  const taken = new Set(problem.nodes.map((other) => other.id));
  let name = `${id}+1`;
  for (let next = 2; taken.has(name); next++) name = `${id}+${next}`;
  const links = problem.links;
  const pairs = (links?.pairs ?? []).flatMap((pair) => {
    if (pair.from === id) return [pair, { ...pair, from: name }];
    return pair.to === id ? [pair, { ...pair, to: name }] : [pair];
  });
  return {
    ...problem,
    nodes: problem.nodes.toSpliced(index + 1, 0, { ...node, id: name }),
    ...(links === undefined ? {} : { links: { ...links, pairs } }),
  };
}
