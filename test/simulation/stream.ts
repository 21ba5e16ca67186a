import { create, type DescMessage, fromBinary, type Message } from "@bufbuild/protobuf";
import { NoodleError } from "../../src/common/index.ts";
import type { BidiStream, StreamListener } from "../../src/net/index.ts";
import { iterateMessages } from "../../src/net/message-iterator.ts";
import type { Direction, SimConnection, SimNetwork } from "./network.ts";

interface SideOptions {
  readonly network: SimNetwork;
  readonly connection: SimConnection;
  readonly side: "client" | "server";
  readonly outgoing: DescMessage;
  readonly peer: string;
  /** The call is over for this side. */
  readonly onOver: (error: NoodleError) => void;
}

/** One end of a stream over a simulated connection, with the manners of the real one. */
export class SimStream implements BidiStream<unknown, unknown> {
  readonly pendingBytes = 0;
  other: SimStream | null = null;
  readonly #options: SideOptions;
  readonly #towards: Direction;
  #listener: StreamListener<unknown> | null = null;
  #inbox: (() => void)[] = [];
  #isPaused = false;
  #ended = false;
  #isOver = false;
  #failure: NoodleError | null = null;
  #cannotWrite: NoodleError | null = null;

  constructor(options: SideOptions) {
    this.#options = options;
    const { connection, side } = options;
    this.#towards = side === "client" ? "there" : "back";
    const lost = connection.onLost[side === "client" ? "back" : "there"];
    const onLost = (): void => this.finish(new NoodleError("PEER_DEAD", `${this.peer}: the connection was lost`));
    lost.add(onLost);
  }

  get peer(): string {
    return this.#options.peer;
  }

  send(message: unknown): boolean {
    this.#requireOpen();
    const copy = create(this.#options.outgoing, message as Record<string, unknown>);
    this.#transfer((other) => other.#take(copy));
    return true;
  }

  sendEncoded(bytes: Uint8Array): boolean {
    this.#requireOpen();
    const { network, outgoing } = this.#options;
    const fault = network.drawFrameFault();
    const copy = Uint8Array.from(bytes);
    if (this.#options.connection.client.name === "coordinator") network.lastStep = { address: this.peer, bytes };
    if (fault === "corrupt") {
      const at = network.drawIndex(copy.length - 32) + 32;
      copy[at] = (copy[at] ?? 0) ^ 0x10;
    }
    const decode = (other: SimStream): void => {
      let message: Message;
      try {
        message = fromBinary(outgoing, copy);
      } catch (error) {
        other.cancel(new NoodleError("FRAME_INVALID", `unreadable: ${String(error)}`));
        return;
      }
      other.#take(message);
    };
    this.#transfer(decode);
    if (fault === "duplicate") this.#transfer(decode);
    return true;
  }

  async drained(): Promise<void> {
    if (this.#cannotWrite !== null) throw this.#cannotWrite;
  }

  async write(message: unknown): Promise<void> {
    this.send(message);
  }

  end(): void {
    if (this.#ended || this.#isOver) return;
    this.#ended = true;
    this.#transfer((other) => other.#takeEnd());
    // A server's end is the end of the call.
    if (this.#options.side === "server") this.#cannotWrite ??= new NoodleError("PEER_DEAD", "the stream was ended");
  }

  cancel(error = new NoodleError("INTERRUPTED", `the stream with ${this.peer} was cancelled`)): void {
    if (this.#isOver) return;
    const copy =
      this.#options.side === "server"
        ? NoodleError.fromJSON(JSON.parse(JSON.stringify(error.toJSON())))
        : new NoodleError("PEER_DEAD", "the caller has gone");
    this.#transfer((other) => other.finish(copy));
    this.finish(error);
  }

  listen(listener: StreamListener<unknown>): void {
    if (this.#listener !== null) throw new NoodleError("ILLEGAL_STATE", "the stream has a listener already");
    this.#listener = listener;
    if (this.#failure !== null) listener.onError(this.#failure);
    else this.#drain();
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.#drain();
  }

  messages(): AsyncGenerator<unknown, void, undefined> {
    return iterateMessages(this as BidiStream<never, unknown>);
  }

  /** The call was lost or refused; only the first error counts. */
  finish(error: NoodleError): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#failure = error;
    this.#cannotWrite ??= error;
    this.#inbox = [];
    this.#options.onOver(error);
    this.#listener?.onError(error);
  }

  #transfer(arrive: (other: SimStream) => void): void {
    this.#options.connection.send(this.#towards, () => {
      if (this.other !== null) arrive(this.other);
    });
  }

  #take(message: unknown): void {
    this.#enqueue(() => {
      try {
        this.#listener?.onMessage(message);
      } catch (thrown) {
        this.cancel(NoodleError.from(thrown));
      }
    });
  }

  #takeEnd(): void {
    this.#enqueue(() => {
      if (this.#options.side === "client") {
        this.#isOver = true;
        this.#cannotWrite ??= new NoodleError("PEER_DEAD", `${this.peer} has ended the stream`);
        this.#options.onOver(new NoodleError("INTERRUPTED", "the call has ended"));
      }
      this.#listener?.onEnd();
    });
  }

  #enqueue(action: () => void): void {
    if (this.#isOver) return;
    this.#inbox.push(action);
    this.#drain();
  }

  #drain(): void {
    while (this.#listener !== null && !this.#isPaused && !this.#isOver) {
      const action = this.#inbox.shift();
      if (action === undefined) return;
      action();
    }
  }

  #requireOpen(): void {
    if (this.#cannotWrite !== null) throw this.#cannotWrite;
    if (this.#ended) throw new NoodleError("ILLEGAL_STATE", "the stream was ended by this side");
  }
}
