import type { MessageInitShape } from "@bufbuild/protobuf";
import { must, NoodleError } from "../../common/index.ts";
import {
  type BidiStream,
  GRPC_TRANSPORT,
  type ServiceClient,
  type Transport,
  type UnaryOptions,
} from "../../net/index.ts";
import {
  type CloseSessionRequestSchema,
  type CreateSessionRequestSchema,
  type ForwardReply,
  type ForwardRequestSchema,
  type PingResponse,
  type ReadKvRequestSchema,
  StageService,
} from "../../protocol/index.ts";
import type { Credentials } from "../../security/index.ts";

export type ForwardStream = BidiStream<MessageInitShape<typeof ForwardRequestSchema>, ForwardReply>;

/** SHA-256 of one layer's keys and values. */
export interface LayerKvHash {
  /** Block of the undivided model, 0-based. */
  readonly block: number;
  readonly kSha256: Uint8Array;
  readonly vSha256: Uint8Array;
}

/**
 * One stage of the pipeline as the coordinator calls it. Steps have a connection of their own: what is asked beside
 * them never waits behind a frame. Every error names the node.
 */
export class StageClient {
  readonly nodeId: string;
  readonly name: string;
  readonly #steps: ServiceClient<typeof StageService>;
  readonly #control: ServiceClient<typeof StageService>;
  #closed = false;

  /** @param credentials null = plaintext */
  constructor(
    node: { readonly id: string; readonly name: string; readonly address: string },
    credentials: Credentials | null = null,
    { createClient }: Pick<Transport, "createClient"> = GRPC_TRANSPORT,
  ) {
    this.nodeId = node.id;
    this.name = node.name;
    const security =
      credentials === null
        ? undefined
        : { credentials: () => credentials, peer: { role: "node", nodeId: node.id } as const };
    this.#steps = createClient(StageService, node.address, { security });
    this.#control = createClient(StageService, node.address, { security });
  }

  openForward(): Promise<ForwardStream> {
    return this.#named(() => this.#steps.rpc.executeForward());
  }

  async createSession(
    request: MessageInitShape<typeof CreateSessionRequestSchema>,
    options: UnaryOptions,
  ): Promise<void> {
    await this.#named(() => this.#control.rpc.createSession(request, options));
  }

  /** @returns positions that it keeps */
  async closeSession(
    request: MessageInitShape<typeof CloseSessionRequestSchema>,
    options: UnaryOptions,
  ): Promise<number> {
    return (await this.#named(() => this.#control.rpc.closeSession(request, options))).keptTokens;
  }

  ping(options: UnaryOptions): Promise<PingResponse> {
    return this.#named(() => this.#control.rpc.ping({}, options));
  }

  /** Hashes of the stage's blocks; empty for a stage without blocks. */
  readKvHashes(
    request: MessageInitShape<typeof ReadKvRequestSchema>,
    options: UnaryOptions,
  ): Promise<readonly LayerKvHash[]> {
    return this.#named(async () => {
      const keys = new Map<number, Uint8Array>();
      const values = new Map<number, Uint8Array>();
      for await (const chunk of this.#control.rpc.readKv({ ...request, hashOnly: true }, options)) {
        if (chunk.sha256.length > 0) (chunk.isValue ? values : keys).set(chunk.block, Uint8Array.from(chunk.sha256));
      }
      return [...keys].map(([block, kSha256]) => ({
        block,
        kSha256,
        vSha256: must(values.get(block), `hash of the values of block ${block}`),
      }));
    });
  }

  close(): void {
    this.#closed = true;
    this.#steps.close();
    this.#control.close();
  }

  async #named<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (thrown) {
      // Closed under a session that was just opened: its plan has been replaced.
      const error = this.#closed
        ? new NoodleError("STALE_EPOCH", "the cluster has moved to a newer plan", { cause: thrown })
        : NoodleError.from(thrown);
      throw new NoodleError(error.code, `worker ${this.name} (${this.nodeId}): ${error.message}`, {
        details: { nodeId: this.nodeId, ...error.details },
        cause: error,
      });
    }
  }
}
