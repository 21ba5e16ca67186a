import type { NoodleError } from "../../common/index.ts";
import type { ForwardReply } from "../../protocol/index.ts";

/** The stage's side of an ExecuteForward stream. */
export interface ReplySink {
  /** Resolves when the transport takes more. @throws PEER_DEAD and the like when the stream is gone */
  write(message: ForwardReply["message"]): Promise<void>;
  /** Stops the reading of what the peer sends. */
  pause(): void;
  resume(): void;
  /** Ends the stream with this error. Ending twice is safe. */
  fail(error: NoodleError): void;
}
