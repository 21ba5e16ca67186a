import type { MessageInitShape } from "@bufbuild/protobuf";
import { NoodleError } from "../../common/index.ts";
import type { BidiStream, ClientSecurity, Transport } from "../../net/index.ts";
import {
  type Assign,
  type CoordinatorMessage,
  CoordinatorService,
  fromErrorInfo,
  type HeartbeatSchema,
  type Registered,
  type RegisterSchema,
  type StageReportSchema,
  type WorkerMessageSchema,
} from "../../protocol/index.ts";
import { backoffMs, sleep } from "./backoff.ts";

type JoinStream = BidiStream<MessageInitShape<typeof WorkerMessageSchema>, CoordinatorMessage>;
type WorkerMessageInit = NonNullable<MessageInitShape<typeof WorkerMessageSchema>["message"]>;
export type StageReportInit = MessageInitShape<typeof StageReportSchema>;

export interface CoordinatorLinkOptions {
  /** host:port */
  readonly address: string;
  /** @default undefined: plaintext */
  readonly security?: ClientSecurity | undefined;
  readonly transport: Pick<Transport, "createClient">;
  readonly makeRegister: () => Promise<MessageInitShape<typeof RegisterSchema>>;
  readonly makeHeartbeat: () => Omit<MessageInitShape<typeof HeartbeatSchema>, "seq" | "$typeName">;
  readonly onRegistered: (registered: Registered) => void;
  readonly onAssign: (assign: Assign) => void;
  readonly onRetire: (epoch: number) => void;
  /** All nodes that are shut out. */
  readonly onRevoked?: (nodeIds: readonly string[]) => void;
  readonly onShutdown: (reason: string) => void;
  /** The worker may leave. `moved` is false where nobody else could take what it holds. */
  readonly onDrained?: (moved: boolean, reason: string) => void;
  /** The coordinator will not have this worker; the link is closed. */
  readonly onRefused: (error: NoodleError) => void;
  /** An attempt failed or a connection broke; the next attempt follows by itself. */
  readonly onLost: (error: NoodleError, wasRegistered: boolean) => void;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

const REJOIN = { firstMs: 100, capMs: 2000 };
const LEAVE_MS = 500;

/** What may wait on the control stream before observations are dropped: heartbeats must not queue behind them. */
const MAX_PENDING_BYTES = 256 * 1024;

/** The worker's control stream: registers, beats, reports, and comes back when it breaks. */
export class CoordinatorLink {
  readonly #options: CoordinatorLinkOptions;
  readonly #closing = new AbortController();
  readonly #finished: Promise<void>;
  #stream: JoinStream | undefined;
  #registered = false;
  #wasMember = false;
  #heartbeat: NodeJS.Timeout | undefined;
  #seq = 0n;
  /** When the coordinator last said something, and how long its silence is believed. */
  #heardMs = 0;
  #silenceMs = Number.POSITIVE_INFINITY;
  /** The state of the stage; said again after each registration. */
  #lastReport: StageReportInit | undefined;

  constructor(options: CoordinatorLinkOptions) {
    this.#options = options;
    this.#finished = this.#keepJoined();
  }

  get registered(): boolean {
    return this.#registered;
  }

  report(report: StageReportInit): void {
    this.#lastReport = report;
    if (this.#registered) this.#send({ case: "stage", value: report });
  }

  /**
   * Sends an encoded `WorkerMessage` that may get lost.
   *
   * @returns false when nobody is registered or the stream is behind: the message is gone
   */
  passOn(message: Uint8Array): boolean {
    const stream = this.#stream;
    if (stream === undefined || !this.#registered || stream.pendingBytes > MAX_PENDING_BYTES) return false;
    try {
      stream.sendEncoded(message);
      return true;
    } catch (error) {
      if (!(error instanceof NoodleError)) throw error;
      return false;
    }
  }

  /** Says that the worker wants to leave. @returns false when nobody is there to hear it */
  announceLeave(reason: string): boolean {
    if (this.#registered) this.#send({ case: "leaving", value: { reason } });
    return this.#registered;
  }

  /** There is no stage any more whose state could be said again. */
  forgetReport(): void {
    this.#lastReport = undefined;
  }

  /** Takes leave if there is somebody to take leave of. Closing twice is safe. */
  async close(reason: string): Promise<void> {
    if (this.#registered) this.#send({ case: "leaving", value: { reason } });
    this.#closing.abort();
    this.#stream?.end();
    await Promise.race([this.#finished, sleep(LEAVE_MS)]);
    this.#stream?.cancel();
    await this.#finished;
  }

  async #keepJoined(): Promise<void> {
    const { signal } = this.#closing;
    let attempt = 0;
    while (!signal.aborted) {
      const { error, wasRegistered } = await this.#join();
      if (signal.aborted) return;
      const isStranger = error.code === "PEER_UNTRUSTED" && !this.#wasMember;
      if (error.code === "ACCESS_DENIED" || isStranger) {
        // Time does not mend it. A member that is not believed any more has met a coordinator on its way down.
        this.#closing.abort();
        return this.#options.onRefused(error);
      }
      this.#options.onLost(error, wasRegistered);
      if (wasRegistered) attempt = 0;
      await sleep(backoffMs(attempt++, REJOIN, this.#options.random()), signal);
    }
  }

  /** One connection, from its opening to its end. */
  async #join(): Promise<{ error: NoodleError; wasRegistered: boolean }> {
    const { transport, address, security } = this.#options;
    const client = transport.createClient(CoordinatorService, address, { security });
    try {
      await client.connect(this.#closing.signal);
      const register = await this.#options.makeRegister();
      const stream = await client.rpc.join();
      this.#stream = stream;
      const ended = new Promise<NoodleError>((resolve) => {
        stream.listen({
          onMessage: (message) => this.#take(message),
          onEnd: () => resolve(new NoodleError("PEER_DEAD", `the coordinator ${client.address} ended the connection`)),
          onError: resolve,
        });
      });
      this.#send({ case: "register", value: register });
      return { error: await ended, wasRegistered: this.#registered };
    } catch (error) {
      return { error: NoodleError.from(error), wasRegistered: this.#registered };
    } finally {
      clearInterval(this.#heartbeat);
      this.#registered = false;
      this.#stream = undefined;
      client.close();
    }
  }

  #take({ message }: CoordinatorMessage): void {
    this.#heardMs = performance.now();
    switch (message.case) {
      case "registered":
        this.#registered = true;
        this.#wasMember = true;
        // Each heartbeat is answered. A coordinator that hears nothing for a lease gives the worker up; the other way
        // round it is given as long again.
        this.#silenceMs = message.value.leaseMs === 0 ? Number.POSITIVE_INFINITY : 2 * message.value.leaseMs;
        clearInterval(this.#heartbeat);
        this.#heartbeat = setInterval(() => this.#beat(), message.value.heartbeatMs);
        this.#options.onRegistered(message.value);
        if (this.#lastReport !== undefined) this.#send({ case: "stage", value: this.#lastReport });
        return;
      case "assign":
        return this.#options.onAssign(message.value);
      case "retire":
        return this.#options.onRetire(Number(message.value.epoch));
      case "revoked":
        return this.#options.onRevoked?.(message.value.nodeIds);
      case "drained":
        return this.#options.onDrained?.(message.value.moved, message.value.reason);
      case "shutdown":
        return this.#options.onShutdown(message.value.reason);
      case "refused":
        this.#closing.abort();
        return this.#options.onRefused(fromErrorInfo(message.value));
      case "heartbeatAck":
      case undefined:
        return;
      default:
        message satisfies never;
    }
  }

  #beat(): void {
    const silentMs = performance.now() - this.#heardMs;
    if (silentMs > this.#silenceMs) {
      const text = `the coordinator has been silent for ${Math.round(silentMs)} ms, the limit is ${this.#silenceMs}`;
      this.#stream?.cancel(new NoodleError("PEER_STALLED", text));
      return;
    }
    this.#seq += 1n;
    this.#send({ case: "heartbeat", value: { ...this.#options.makeHeartbeat(), seq: this.#seq } });
  }

  #send(message: WorkerMessageInit): void {
    try {
      this.#stream?.send({ message });
    } catch (error) {
      // The stream has just broken: its listener hears of it, and what was said is said again after the rejoining.
      if (!(error instanceof NoodleError)) throw error;
    }
  }
}
