import type { NoodleError } from "../common/index.ts";

/** Receives a stream's messages without a promise or a tick in between. */
export interface StreamListener<In> {
  /** A throw ends the stream with that error. `bytes` fields are views into the message's buffer. */
  onMessage(message: In): void;
  /**
   * The peer sends no more; on a client, the call has ended well. Not called after `onError`. On a server, a client that
   * cancels may be heard as an end first, since HTTP/2 in Node ends a stream before it resets it; a lost connection is
   * never heard as an end.
   */
  onEnd(): void;
  /** The stream is over, be it by the peer, the connection or this side's `cancel`. Called at most once. */
  onError(error: NoodleError): void;
}

/** A stream in both directions. `Out` is what this side sends, `In` what it receives. */
export interface BidiStream<Out, In> {
  /** host:port of the other side, as far as it is known. */
  readonly peer: string;
  /** Bytes accepted and not yet taken by HTTP/2. */
  readonly pendingBytes: number;
  /**
   * Sends without waiting: for senders that are bounded by credits.
   *
   * @returns false when the sender should await `drained()` before the next message
   * @throws the error that ended the stream; FRAME_INVALID for a message above the cap
   */
  send(message: Out): boolean;
  /** As `send`, for a message that is already encoded; the bytes belong to the stream from here on. */
  sendEncoded(bytes: Uint8Array): boolean;
  /** Waits until less than the high-water mark is pending. Rejects with the error that ended the stream. */
  drained(): Promise<void>;
  /** Sends when there is room: what one writer holds pending is at most the high-water mark and one message. */
  write(message: Out): Promise<void>;
  /** Says that this side sends no more. On a server this ends the call well, once what is pending has left. */
  end(): void;
  /**
   * Gives the call up, and tells the listener. A server's error reaches the client as it is, behind what is pending; a
   * client's server sees that the client is gone.
   */
  cancel(error?: NoodleError): void;
  /** Starts the reading; until then messages wait with the sender. Once only, instead of `messages`. */
  listen(listener: StreamListener<In>): void;
  /** Stops the reading: what is not read waits, in the end with the sender. */
  pause(): void;
  resume(): void;
  /** The messages one by one, read as they are asked for. Once only, instead of `listen`. Leaving the loop cancels. */
  messages(): AsyncGenerator<In, void, undefined>;
}
