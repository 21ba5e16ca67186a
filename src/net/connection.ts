import { Client, connectivityState } from "@grpc/grpc-js";
import { NoodleError } from "../common/index.ts";
import { clientOptions } from "./channel-options.ts";
import type { ClientSecurity } from "./security.ts";
import { TrackedSockets } from "./tracked-sockets.ts";

export interface ConnectionOptions {
  /** For TCP and HTTP/2's first exchange together. */
  readonly connectTimeoutMs: number;
  readonly flowControlWindowBytes: number;
  /** null = plaintext. */
  readonly security: ClientSecurity | null;
}

/** A name, an IPv4 address or an IPv6 address in brackets, then the port. */
const ADDRESS = /^(?:\[[0-9a-f:.]+\]|[^\s:/[\]]+):([0-9]{1,5})$/i;

type Outcome = "ready" | "refused" | "late" | "aborted";

/**
 * One connection to one address, made when it is needed and made anew after it was lost.
 *
 * The library waits without limit for a peer that accepts the connection and never speaks (grpc-node #2785), and waits
 * between attempts to a peer that refuses. Here an attempt either succeeds in time or fails with PEER_UNREACHABLE, and
 * the next one starts from nothing; when to try again is the caller's to decide.
 */
export class Connection {
  readonly address: string;
  readonly #options: ConnectionOptions;
  #sockets = new TrackedSockets();
  #client: Client;
  #closed = false;

  /** @throws USAGE when the address is not host:port */
  constructor(address: string, options: ConnectionOptions) {
    // The library takes anything, and guesses: a name alone as port 443, for example.
    const port = Number(ADDRESS.exec(address)?.[1] ?? 0);
    if (port < 1 || port > 65_535)
      throw new NoodleError("USAGE", `"${address}" is not an address of the form host:port`);
    this.address = address;
    this.#options = options;
    this.#client = this.#create();
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** The library's client if it is connected at this moment. */
  get ready(): Client | null {
    if (this.#closed) throw new NoodleError("ILLEGAL_STATE", `the client of ${this.address} was closed`);
    return this.#client.getChannel().getConnectivityState(false) === connectivityState.READY ? this.#client : null;
  }

  /** What is wrong between the two sides' certificates; null where nothing is known to be. */
  get distrust(): NoodleError | null {
    const cause = this.#sockets.failure;
    if (cause === null) return null;
    const text = `${this.address} and this side do not trust each other: ${cause.message}`;
    return new NoodleError("PEER_UNTRUSTED", text, { details: { peer: this.address }, cause });
  }

  /**
   * @param timeoutMs  gives up sooner than the connect timeout, with TIMED_OUT
   * @throws PEER_UNREACHABLE when the peer refuses, does not answer in time, or does not speak HTTP/2
   * @throws PEER_UNTRUSTED when it is not whom this side wants, or does not take this side's certificate
   * @throws INTERRUPTED when `signal` is aborted
   */
  async connect(timeoutMs = this.#options.connectTimeoutMs, signal?: AbortSignal): Promise<Client> {
    const ready = this.ready;
    if (ready !== null) return ready;
    if (this.#client.getChannel().getConnectivityState(false) === connectivityState.TRANSIENT_FAILURE) {
      this.#replace(this.#client);
    }
    const client = this.#client;
    const limitMs = Math.min(timeoutMs, this.#options.connectTimeoutMs);
    const outcome = await this.#watch(client, Date.now() + limitMs, signal);
    if (outcome === "ready") {
      this.#sockets.trust();
      return client;
    }
    if (outcome === "aborted") throw new NoodleError("INTERRUPTED", `connecting to ${this.address} was interrupted`);
    if (outcome === "late" && timeoutMs < this.#options.connectTimeoutMs) {
      throw new NoodleError("TIMED_OUT", `${this.address} did not answer within ${timeoutMs} ms`);
    }
    const distrust = this.distrust;
    this.#replace(client);
    if (distrust !== null) throw distrust;
    const reason =
      outcome === "late"
        ? `did not answer within ${limitMs} ms, or does not speak HTTP/2`
        : "refused the connection, or does not speak HTTP/2, or wants TLS";
    throw new NoodleError("PEER_UNREACHABLE", `${this.address} ${reason}`, { details: { peer: this.address } });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#client.close();
    // A turn of the loop for what was just written.
    setImmediate(() => this.#sockets.destroy());
  }

  #create(): Client {
    const { security, flowControlWindowBytes } = this.#options;
    // Addresses are no names of servers; the certificate's own name is what is checked.
    const name = security === null ? {} : { "grpc.ssl_target_name_override": "noodle" };
    return new Client(`dns:${this.address}`, this.#sockets.createCredentials(security), {
      ...clientOptions(flowControlWindowBytes),
      ...name,
    });
  }

  /** Drops a client that failed, unless another call has done so already. */
  #replace(failed: Client): void {
    if (this.#client !== failed || this.#closed) return;
    failed.close();
    this.#sockets.destroy();
    this.#sockets = new TrackedSockets();
    this.#client = this.#create();
  }

  #watch(client: Client, deadline: number, signal: AbortSignal | undefined): Promise<Outcome> {
    return new Promise<Outcome>((resolve) => {
      const channel = client.getChannel();
      const settle = (outcome: Outcome): void => {
        signal?.removeEventListener("abort", step);
        resolve(outcome);
      };
      const step = (): void => {
        if (signal?.aborted === true) return settle("aborted");
        // The client was closed meanwhile, by `close` or by another call that saw it fail.
        if (this.#closed || this.#client !== client) return settle("refused");
        const state = channel.getConnectivityState(true);
        if (state === connectivityState.READY) return settle("ready");
        if (state === connectivityState.TRANSIENT_FAILURE) return settle("refused");
        channel.watchConnectivityState(state, deadline, (error) => (error === undefined ? step() : settle("late")));
      };
      signal?.addEventListener("abort", step, { once: true });
      step();
    });
  }
}
