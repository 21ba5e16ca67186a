import { expect, it } from "vitest";
import { readEvents } from "../../src/api/testing.ts";
import { must } from "../../src/common/index.ts";
import { StatusDocument, UpDocument } from "../e2e/documents.ts";
import { startNoodle, STORYTELLER, tempPath, until } from "../e2e/noodle.ts";

const PIECES = 30;

/** What a stream said; `onPieces` is called when some of it is there. */
async function readText(url: string, onPieces: () => void = () => undefined): Promise<string> {
  const body = {
    prompt: "Once upon a time",
    max_tokens: 300,
    ignore_eos: true,
    stream: true,
    temperature: 0.7,
    seed: 3,
  };
  const response = await fetch(`${url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  let text = "";
  let isTold = false;
  const decoder = new TextDecoder();
  for await (const bytes of response.body ?? []) {
    text += decoder.decode(bytes as Uint8Array, { stream: true });
    if (isTold || text.split("\n\n").length < PIECES) continue;
    isTold = true;
    onPieces();
  }
  const chunks = readEvents(text).slice(0, -1);
  return chunks
    .map(({ data }) => (JSON.parse(data) as { choices: { text: string }[] }).choices[0]?.text ?? "")
    .join("");
}

it("noodle up says that a worker died, starts it again as the same node, and its streams say what they would have said", async () => {
  const args = ["up", STORYTELLER, "--workers", "3", "--threads", "1", "--determinism", "strict"];
  const up = startNoodle([...args, "--port", "0", "--grpc-port", "0", "--data", tempPath("up"), "--json"]);
  await up.said(/^\}$/m);
  const { api_url: url, workers } = UpDocument.parse(JSON.parse(up.stdout()));
  const readLayout = async (): Promise<string> => {
    const { nodes, stages, health } = StatusDocument.parse(await (await fetch(`${url}/v1/status`)).json());
    const held = stages.map(({ units, node, state }) => `${units} ${node} ${state}`);
    return [...held, ...nodes.map(({ id, state }) => `${id} ${state}`).sort(), health.status].join("\n");
  };
  const before = await readLayout();
  const undisturbed = await readText(url);
  const victim = must(workers[1], "worker");
  const disturbed = await readText(url, () => process.kill(victim.pid, "SIGKILL"));
  expect(disturbed).toBe(undisturbed);
  await up.said(`${victim.name} ended by SIGKILL; it is started again in 0.25 s`);
  await up.said(/1 of 1 stream goes on after \d+ ms \(\S+, peer_dead\)/);
  await up.said(`${victim.name} is back after`);
  await until(async () => (await readLayout()) === before);
  up.child.kill("SIGINT");
  expect((await up.finished).code).toBe(130);
  expect(up.processes()).toEqual([]);
});
