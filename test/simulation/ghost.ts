import { fromBinary } from "@bufbuild/protobuf";
import {
  decodeFrame,
  encodeFrameMessages,
  ForwardRequestSchema,
  type Frame,
  PROTOCOL_VERSION,
  StageService,
  StreamRole,
} from "../../src/protocol/index.ts";
import { createTransport } from "./transport.ts";
import { SimProcess } from "./virtual-time.ts";
import type { World } from "./world.ts";

/** What a coordinator that should be gone says late: to which stage, and its last step there. */
export interface LateStep {
  readonly address: string;
  /** A `ForwardRequest` as it was sent. */
  readonly bytes: Uint8Array;
}

/**
 * Comes from nowhere and goes on with the sessions of a step that was sent before: as their owner of an earlier fence, or
 * in the epoch before. Nothing of it may be taken.
 */
export function haunt(world: World, { address, bytes }: LateStep, isOfFormerEpoch: boolean): void {
  const { message } = fromBinary(ForwardRequestSchema, bytes);
  if (message.case !== "chunk") return;
  const sent = decodeFrame(message.value.data, { epoch: "any", width: "any", maxRows: 4096, maxRuns: 64 });
  const ghost = new SimProcess("ghost");
  const client = createTransport(world.network, ghost).createClient(StageService, address);
  world.time.schedule(0, ghost, () => {
    client.rpc.executeForward().then(
      (stream) => {
        stream.listen({
          onMessage: ({ message: answer }) => {
            if (answer.case === "ack") world.violate(`a step of an earlier fence was taken by ${address}`);
            if (answer.case !== "opened") return;
            if (isOfFormerEpoch) world.violate(`a stream of an epoch that is over was opened by ${address}`);
            for (const part of encodeFrameMessages(makeStale(sent))) stream.sendEncoded(part);
          },
          onEnd: () => undefined,
          onError: () => undefined,
        });
        const epoch = BigInt(isOfFormerEpoch ? sent.epoch - 1000 : sent.epoch);
        const open = { epoch, role: StreamRole.STEPS, fromNode: "ghost", protocolVersion: PROTOCOL_VERSION };
        stream.send({ message: { case: "open", value: open } });
      },
      () => undefined,
    );
  });
}

/** The step behind it, of the owner before. */
function makeStale(sent: Frame): Frame {
  const runs = sent.runs.map((run) => ({ ...run, fence: run.fence - 1, position: run.position + run.rows }));
  return { ...sent, runs, stepId: sent.stepId + 1_000_000 };
}
