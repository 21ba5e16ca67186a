import { createHash, randomBytes } from "node:crypto";
import { NoodleError } from "../../common/index.ts";
import { LiveStream } from "./live-stream.ts";

/** What a generation is, before anything of it is there. */
export interface GenerationIdentity {
  /** 128 random bits behind a word; also the id of the response. */
  readonly id: string;
  /** Unix time in seconds. */
  readonly created: number;
  /** Whose it is; nobody else is told of it. */
  readonly client: string;
  /** Of what was asked, in hex. */
  readonly bodySha256: string;
  /** What the client calls it; null = nothing. A named one goes on when its client is gone. */
  readonly key: string | null;
}

/** 1 to 255 visible characters. */
const KEY = /^[\u0021-\u007e]{1,255}$/;

/**
 * @param key of the header
 * @param body what to tell it from other requests by; null where nobody can ask for it again
 * @throws REQUEST_INVALID for a key that is none
 */
export function identify(
  idPrefix: string,
  path: string,
  body: object | null,
  { client, key }: Pick<GenerationIdentity, "client" | "key">,
): GenerationIdentity {
  if (key !== null && !KEY.test(key)) {
    throw new NoodleError("REQUEST_INVALID", "Idempotency-Key must be 1 to 255 visible ASCII characters", {
      details: { param: "Idempotency-Key" },
    });
  }
  return {
    id: `${idPrefix}${randomBytes(16).toString("hex")}`,
    created: Math.floor(Date.now() / 1000),
    client,
    bodySha256:
      body === null
        ? ""
        : createHash("sha256")
            .update(`${path} ${JSON.stringify(body)}`)
            .digest("hex"),
    key,
  };
}

export type GenerationState = "running" | "completed" | "failed" | "cancelled";

interface Settle {
  readonly resolve: (text: string) => void;
  readonly reject: (error: NoodleError) => void;
}

/** A request that generates, from its call until nobody can ask for it any more. */
export class LiveGeneration {
  readonly identity: GenerationIdentity;
  /** Its response comes as events; null where it comes whole. */
  readonly stream: LiveStream | null;
  /** The whole response; never settles for a stream that goes well. */
  readonly whole: Promise<string>;
  readonly #stop = new AbortController();
  readonly #settle: Settle;
  readonly #over: Promise<void>;
  #tellOver: () => void = () => undefined;
  #state: GenerationState = "running";
  /** Requests that wait for it. */
  #attached = 0;

  /** @param logBytes of events that are kept; null = it comes whole */
  constructor(identity: GenerationIdentity, logBytes: number | null) {
    this.identity = identity;
    this.stream = logBytes === null ? null : new LiveStream(identity.id, logBytes);
    let settle: Settle = { resolve: () => undefined, reject: () => undefined };
    this.whole = new Promise((resolve, reject) => {
      settle = { resolve, reject };
    });
    this.#settle = settle;
    this.#over = new Promise((resolve) => {
      this.#tellOver = resolve;
    });
    // Nobody may be waiting.
    this.whole.catch(() => undefined);
  }

  /** Aborted when it is to end. */
  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  get state(): GenerationState {
    return this.#state;
  }

  cancel(): void {
    this.#stop.abort();
  }

  /** A request waits for it from now on, until `signal` says that its client is gone. */
  attach(signal: AbortSignal): void {
    this.#attached += 1;
    const leave = (): void => {
      this.#attached -= 1;
      if (this.#attached === 0 && this.identity.key === null) this.cancel();
    };
    if (signal.aborted) leave();
    else signal.addEventListener("abort", leave, { once: true });
  }

  /** Resolves when it has ended, one way or the other. */
  get over(): Promise<void> {
    return this.#over;
  }

  /** Nobody waits for it. */
  get isAlone(): boolean {
    return this.#attached === 0;
  }

  /** @param text of the whole response; null for a stream */
  complete(text: string | null): void {
    this.#state = "completed";
    this.stream?.end();
    if (text !== null) this.#settle.resolve(text);
    this.#tellOver();
  }

  fail(error: NoodleError): void {
    this.#state = this.#stop.signal.aborted ? "cancelled" : "failed";
    this.stream?.end(error);
    this.#settle.reject(error);
    this.#tellOver();
  }
}
