import type { DescMessage } from "@bufbuild/protobuf";
import { NoodleError } from "../common/index.ts";
import { iterateMessages } from "./message-iterator.ts";
import { MessageWriter, type WritableCall } from "./message-writer.ts";
import { checkMessageSize, encodeMessage, type Init } from "./service.ts";
import type { BidiStream, StreamListener } from "./stream.ts";

/** The parts of the library's duplex calls that a stream needs; they differ in how a call ends. */
export interface DuplexCall extends WritableCall {
  on(event: "data", handler: (message: unknown) => void): unknown;
  on(event: "end", handler: () => void): unknown;
  end(): unknown;
  pause(): unknown;
  resume(): unknown;
}

export interface GrpcBidiStreamOptions<Out extends DescMessage> {
  readonly outgoing: Out;
  readonly peer: string;
  readonly highWaterBytes: number;
  /** Whether the end of the incoming messages is the end of the call: so on a client, not on a server. */
  readonly endsWithReading: boolean;
  /** Ends the call from this side. */
  readonly abort: (error: NoodleError) => void;
}

/**
 * The stream over a call of the library. Its owner (client or server) reports how the call ends by `finish` and
 * `finishWriting`.
 *
 * `In` is what the call's deserializer makes.
 */
export class GrpcBidiStream<Out extends DescMessage, In> implements BidiStream<Init<Out>, In> {
  readonly #call: DuplexCall;
  readonly #options: GrpcBidiStreamOptions<Out>;
  readonly #writer: MessageWriter;
  #listener: StreamListener<In> | null = null;
  #ended = false;
  #over = false;
  /** How it ended, for a listener that comes later. */
  #failure: NoodleError | null = null;

  constructor(call: DuplexCall, options: GrpcBidiStreamOptions<Out>) {
    this.#call = call;
    this.#options = options;
    this.#writer = new MessageWriter(call, options.highWaterBytes);
  }

  get peer(): string {
    return this.#options.peer;
  }

  get pendingBytes(): number {
    return this.#writer.pendingBytes;
  }

  /** Whether this side has called `end`. */
  get ended(): boolean {
    return this.#ended;
  }

  send(message: Init<Out>): boolean {
    return this.#send(encodeMessage(this.#options.outgoing, message));
  }

  sendEncoded(bytes: Uint8Array): boolean {
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    return this.#send(checkMessageSize(buffer, this.#options.outgoing.typeName));
  }

  drained(): Promise<void> {
    return this.#writer.drained();
  }

  async write(message: Init<Out>): Promise<void> {
    const bytes = encodeMessage(this.#options.outgoing, message);
    // Another writer may have taken the room in the meantime, hence the loop.
    while (!this.#writer.hasRoom) await this.#writer.drained();
    this.#send(bytes);
  }

  end(): void {
    if (this.#ended || this.#over) return;
    this.#ended = true;
    this.#call.end();
  }

  cancel(error = new NoodleError("INTERRUPTED", `the stream with ${this.peer} was cancelled`)): void {
    if (this.#over) return;
    this.#options.abort(error);
    this.finish(error);
  }

  listen(listener: StreamListener<In>): void {
    if (this.#listener !== null) throw new NoodleError("ILLEGAL_STATE", "the stream has a listener already");
    this.#listener = listener;
    if (this.#failure !== null) {
      listener.onError(this.#failure);
      return;
    }
    this.#call.on("data", (message) => {
      if (this.#over) return;
      try {
        listener.onMessage(message as In);
      } catch (thrown) {
        this.cancel(NoodleError.from(thrown));
      }
    });
    this.#call.on("end", () => {
      if (this.#options.endsWithReading) this.#endReading(listener);
      // On a server the library reports a client's reset as an ordinary end first, and the truth in the same turn of
      // the loop.
      else setImmediate(() => this.#endReading(listener));
    });
  }

  pause(): void {
    this.#call.pause();
  }

  resume(): void {
    this.#call.resume();
  }

  messages(): AsyncGenerator<In, void, undefined> {
    return iterateMessages(this);
  }

  /** The call was lost or refused; only the first error counts. */
  finish(error: NoodleError): void {
    if (this.#over) return;
    this.#over = true;
    this.#failure = error;
    this.#writer.fail(error);
    this.#listener?.onError(error);
  }

  /** The call has ended well: what was received may still be read, nothing can be sent. */
  finishWriting(): void {
    this.#writer.fail(
      new NoodleError("PEER_DEAD", `${this.peer} has ended the stream`, { details: { peer: this.peer } }),
    );
  }

  #endReading(listener: StreamListener<In>): void {
    if (this.#over) return;
    this.#over = this.#options.endsWithReading;
    listener.onEnd();
  }

  #send(bytes: Buffer): boolean {
    if (this.#ended) throw new NoodleError("ILLEGAL_STATE", "the stream was ended by this side");
    return this.#writer.send(bytes);
  }
}
