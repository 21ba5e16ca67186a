import type { MessageInitShape as Init } from "@bufbuild/protobuf";
import { NoodleError } from "../../common/index.ts";
import type { BidiStream } from "../../net/index.ts";
import {
  encodeFrameMessages,
  type ForwardReply,
  type ForwardRequestSchema,
  type Frame,
  fromErrorInfo,
  PROTOCOL_VERSION,
  StreamRole,
} from "../../protocol/index.ts";
import type { ForwardHop } from "./active-stage.ts";
import { backoffMs, sleep } from "./backoff.ts";
import { Slots } from "./lane.ts";

export type ForwardStream = BidiStream<Init<typeof ForwardRequestSchema>, ForwardReply>;

export interface HopConnection {
  readonly stream: ForwardStream;
  close(): void;
}

export interface HopLimits {
  /** Longest time until the peer answers the opening. @default 2000 */
  readonly openTimeoutMs?: number;
  /** Longest time that a step waits for a connection. @default 2000 */
  readonly connectWaitMs?: number;
  /** A peer that owes the answer to a step for longer counts as stalled. @default 30000 */
  readonly stallMs?: number;
}

export interface NextHopOptions extends HopLimits {
  /** Makes a fresh connection to the next stage with an ExecuteForward stream that nobody listens to yet. */
  readonly connect: (signal: AbortSignal) => Promise<HopConnection>;
  readonly epoch: number;
  /** This node, which the peer sees as the sender. */
  readonly nodeId: string;
  /** How errors name the peer: its node id or its address. */
  readonly peer: string;
  /** A step that was written has failed: in the peer, behind it, or with the connection. */
  readonly onStepError: (stepId: number, error: NoodleError) => void;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

const RECONNECT = { firstMs: 50, capMs: 2000 };
const STALL_CHECK_MS = 250;

/** One connection's life. */
interface Link {
  readonly connection: HopConnection;
  readonly credits: Slots;
  /** Monotonic time of writing, by step id, oldest first. */
  readonly inFlight: Map<number, bigint>;
  /** Settles the waits for credit when the link ends. */
  readonly ended: Promise<NoodleError>;
  readonly end: (error: NoodleError) => void;
  failure: NoodleError | undefined;
}

/**
 * The one stream of steps to the next stage in an epoch. It reconnects by itself, with growing waits; whatever was in
 * flight when a connection broke is reported first, so nothing is ever sent twice.
 */
export class NextHop implements ForwardHop {
  hopNs = 0;
  encodeNs = 0;
  readonly #options: NextHopOptions;
  readonly #closing = new AbortController();
  #link: Link | undefined;
  #waiting: (() => void)[] = [];
  #lastFailure: NoodleError | undefined;

  constructor(options: NextHopOptions) {
    this.#options = options;
    void this.#keepConnected();
  }

  async send(frame: Frame): Promise<number> {
    const link = this.#link ?? (await this.#waitForLink());
    const failure = await Promise.race([link.credits.acquire(), link.ended]);
    if (failure !== undefined) throw failure;
    if (link.failure !== undefined) throw link.failure;
    const { stream } = link.connection;
    const startNs = process.hrtime.bigint();
    const messages = encodeFrameMessages(frame);
    const sentNs = process.hrtime.bigint();
    this.encodeNs = Number(sentNs - startNs);
    link.inFlight.set(frame.stepId, sentNs);
    const bytes = messages.reduce((sum, message) => sum + message.length, 0);
    try {
      for (const message of messages) {
        if (!stream.sendEncoded(message)) await stream.drained();
      }
      return bytes;
    } catch (error) {
      // When the link's end has reported the step already, this one must not.
      if (!link.inFlight.delete(frame.stepId)) return bytes;
      throw this.#name(NoodleError.from(error));
    }
  }

  close(): void {
    this.#closing.abort();
    this.#link?.end(new NoodleError("INTERRUPTED", `the hop to ${this.#options.peer} was closed`));
    for (const wake of this.#waiting.splice(0)) wake();
  }

  async #keepConnected(): Promise<void> {
    const { signal } = this.#closing;
    let attempt = 0;
    while (!signal.aborted) {
      const link = await this.#tryConnect();
      if (link !== undefined) {
        this.#lastFailure = await link.ended;
        // Only a peer that answered deserves a quick second try.
        if (this.#link === link) attempt = 0;
        this.#link = undefined;
      }
      if (!signal.aborted) await sleep(backoffMs(attempt++, RECONNECT, this.#options.random()), signal);
    }
  }

  async #tryConnect(): Promise<Link | undefined> {
    const { signal } = this.#closing;
    try {
      const connection = await this.#options.connect(signal);
      if (!signal.aborted) return this.#open(connection);
      connection.close();
    } catch (error) {
      this.#lastFailure = NoodleError.from(error);
    }
    return undefined;
  }

  #open(connection: HopConnection): Link {
    const { epoch, nodeId, openTimeoutMs, stallMs } = this.#options;
    let settle: (error: NoodleError) => void = () => undefined;
    const ended = new Promise<NoodleError>((resolve) => {
      settle = resolve;
    });
    const openTimer = setTimeout(() => {
      link.end(new NoodleError("PEER_UNREACHABLE", `${this.#options.peer} did not answer the opening of the stream`));
    }, openTimeoutMs ?? 2000);
    const stallTimer = setInterval(() => this.#checkStall(link, stallMs ?? 30_000), STALL_CHECK_MS);
    stallTimer.unref();
    const link: Link = {
      connection,
      credits: new Slots(0),
      inFlight: new Map(),
      ended,
      failure: undefined,
      end: (error) => {
        if (link.failure !== undefined) return;
        const named = this.#name(error);
        link.failure = named;
        clearTimeout(openTimer);
        clearInterval(stallTimer);
        connection.stream.cancel();
        connection.close();
        const lost = [...link.inFlight.keys()];
        link.inFlight.clear();
        for (const stepId of lost) this.#options.onStepError(stepId, named);
        settle(named);
      },
    };
    connection.stream.listen({
      onMessage: ({ message }) => {
        if (message.case === "opened") {
          clearTimeout(openTimer);
          for (let i = 0; i < message.value.credits; i++) link.credits.release();
          this.#link = link;
          for (const wake of this.#waiting.splice(0)) wake();
        } else {
          this.#take(link, message);
        }
      },
      onEnd: () => link.end(new NoodleError("PEER_DEAD", `${this.#options.peer} ended the stream`)),
      onError: (error) => link.end(error),
    });
    try {
      const open = {
        epoch: BigInt(epoch),
        role: StreamRole.STEPS,
        fromNode: nodeId,
        protocolVersion: PROTOCOL_VERSION,
      };
      connection.stream.send({ message: { case: "open", value: open } });
    } catch (error) {
      link.end(NoodleError.from(error));
    }
    return link;
  }

  #take(link: Link, message: ForwardReply["message"]): void {
    if (message.case === "ack") {
      const stepId = Number(message.value.stepId);
      const sentNs = link.inFlight.get(stepId);
      if (!link.inFlight.delete(stepId) || sentNs === undefined) return;
      const beyondNs = process.hrtime.bigint() - sentNs - message.value.insideNs;
      this.hopNs = beyondNs > 0n ? Number(beyondNs / 2n) : 0;
      link.credits.release();
    } else if (message.case === "error") {
      const info = message.value.error;
      const error = info === undefined ? new NoodleError("INTERNAL", "an error without a cause") : fromErrorInfo(info);
      this.#takeError(link, Number(message.value.stepId), error);
    }
  }

  #takeError(link: Link, stepId: number, error: NoodleError): void {
    if (stepId === 0 && error.code !== "FRAME_CORRUPT" && error.code !== "FRAME_INVALID") return link.end(error);
    // A frame that cannot be read has no id; answers come in order, so it is the oldest.
    const [oldest] = link.inFlight.keys();
    const failed = stepId === 0 ? oldest : stepId;
    if (failed === undefined) return link.end(error);
    if (link.inFlight.delete(failed)) link.credits.release();
    this.#options.onStepError(failed, error);
  }

  #checkStall(link: Link, stallMs: number): void {
    const [oldestNs] = link.inFlight.values();
    if (oldestNs === undefined) return;
    const waitedMs = Number((process.hrtime.bigint() - oldestNs) / 1_000_000n);
    if (waitedMs < stallMs) return;
    const text = `${this.#options.peer} has owed the answer to a step for ${waitedMs} ms, the limit is ${stallMs}`;
    link.end(new NoodleError("PEER_STALLED", text));
  }

  async #waitForLink(): Promise<Link> {
    const { connectWaitMs, peer } = this.#options;
    const timer = new AbortController();
    await Promise.race([
      new Promise<void>((resolve) => this.#waiting.push(resolve)),
      sleep(connectWaitMs ?? 2000, AbortSignal.any([timer.signal, this.#closing.signal])),
    ]);
    timer.abort();
    if (this.#link !== undefined) return this.#link;
    const why = this.#lastFailure === undefined ? "" : `: ${this.#lastFailure.message}`;
    throw new NoodleError("PEER_UNREACHABLE", `no connection to ${peer}${why}`, { details: { peer } });
  }

  /** Transport failures become errors that name the peer; typed errors of the peer stay as they are. */
  #name(error: NoodleError): NoodleError {
    const { peer } = this.#options;
    if (error.code !== "INTERRUPTED" && error.code !== "INTERNAL" && error.code !== "ILLEGAL_STATE") return error;
    return new NoodleError("PEER_DEAD", `lost ${peer}: ${error.message}`, { details: { peer }, cause: error });
  }
}
