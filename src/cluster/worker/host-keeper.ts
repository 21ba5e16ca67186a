import { join } from "node:path";
import { must, type NoodleError } from "../../common/index.ts";
import type { Capabilities } from "../../protocol/index.ts";
import type { Credentials } from "../../security/index.ts";
import { backoffMs, sleep } from "./backoff.ts";
import type { EngineChoice } from "./engine-messages.ts";
import type { HostSecurity } from "./host-messages.ts";
import type { HostHandle, HostListening, HostStats } from "./host-process.ts";

export interface HostKeeperOptions {
  readonly nodeId: string;
  readonly listenHost: string;
  /** 0 = any free port. */
  readonly listenPort: number;
  readonly engine: EngineChoice;
  readonly dataDirectory: string;
  /** @param onObservation takes an encoded observation */
  readonly createHost: (onObservation: (message: Uint8Array) => void) => HostHandle;
  /** The worker's certificate as it is now. @default undefined: plaintext */
  readonly readCredentials?: (() => Credentials) | undefined;
  /** The worker is being stopped. */
  readonly signal: AbortSignal;
  /** Takes an encoded observation. @returns false when it is lost */
  readonly onObservation: (message: Uint8Array) => boolean;
  /** The host has died by itself; there is none until `restart`. */
  readonly onDeath: (error: NoodleError) => void;
}

const RESTART = { firstMs: 100, capMs: 5000 };
/** A host that lived this long has earned a quick restart. */
const HEALTHY_MS = 30_000;

/** The worker's stage host, of which there is at most one at a time; the next takes the port of the one before. */
export class HostKeeper {
  readonly #options: HostKeeperOptions;
  #host: HostHandle | undefined;
  #startedMs = 0;
  #variant: string | undefined;
  #listening: HostListening | undefined;
  #capabilities: Capabilities | undefined;
  #revoked: readonly string[] = [];
  #restarts = 0;
  #deaths = 0;
  /** By this process, and by hosts that have ended. */
  #observationsDropped = 0;

  constructor(options: HostKeeperOptions) {
    this.#options = options;
  }

  get host(): HostHandle | undefined {
    return this.#host;
  }

  /** What the host said at its start; of the last one when there is none. */
  get listening(): HostListening {
    return must(this.#listening, "listening host");
  }

  get stats(): HostStats | null {
    return this.#host?.stats ?? null;
  }

  get deaths(): number {
    return this.#deaths;
  }

  get observationsDropped(): number {
    return this.#observationsDropped + (this.stats?.observationsDropped ?? 0);
  }

  /** @throws ENGINE_NOT_FOUND and the like, PORT_IN_USE; ENGINE_ABORTED when the process dies meanwhile */
  async start(variant: string | undefined): Promise<void> {
    const { nodeId, listenHost, listenPort, engine, dataDirectory, onObservation, createHost } = this.#options;
    const host = createHost((message) => {
      if (!onObservation(message)) this.#observationsDropped += 1;
    });
    this.#host = host;
    this.#startedMs = performance.now();
    const { kind, directory, emulatedSlowness } = engine;
    const choice: EngineChoice = {
      kind,
      cacheDirectory: join(dataDirectory, "engine"),
      ...(directory === undefined ? {} : { directory }),
      ...(emulatedSlowness === undefined ? {} : { emulatedSlowness }),
      ...(variant === undefined ? {} : { variant }),
    };
    const port = this.#listening?.port ?? listenPort;
    try {
      const security = this.#readSecurity();
      this.#listening = await host.start({ nodeId, listenHost, listenPort: port, engine: choice, security });
    } catch (error) {
      this.#host = undefined;
      await host.close();
      throw error;
    }
    this.#variant = variant;
    if (this.#capabilities !== undefined) host.setCapabilities(this.#capabilities);
    void host.exited.then((error) => {
      if (error !== undefined && this.#host === host) this.#takeDeath(error);
    });
  }

  /** Starts another host in place of one that has died, after a wait that grows. @throws as `start` */
  async restart(): Promise<void> {
    const { signal } = this.#options;
    await sleep(backoffMs(this.#restarts++, RESTART, Math.random()), signal);
    if (!signal.aborted) await this.start(this.#variant);
  }

  /**
   * Replaces the host when it runs another variant of the library.
   *
   * @returns whether it did: then the engine is another one
   * @throws as `start`
   */
  async useVariant(variant: string | undefined): Promise<boolean> {
    if (variant === this.#variant || variant === this.#listening?.engine.variant) return false;
    const former = this.#host;
    this.#host = undefined;
    await former?.close();
    await this.start(variant);
    return true;
  }

  /** For this host and those that follow it. */
  setCapabilities(capabilities: Capabilities): void {
    this.#capabilities = capabilities;
    this.#host?.setCapabilities(capabilities);
  }

  /** These are shut out, for this host and those that follow it. */
  revoke(nodeIds: readonly string[]): void {
    this.#revoked = nodeIds;
    this.renew();
  }

  /** The worker's certificate is another one. */
  renew(): void {
    const security = this.#readSecurity();
    if (security !== undefined) this.#host?.secure(security);
  }

  async close(): Promise<void> {
    await this.#host?.close();
  }

  #readSecurity(): HostSecurity | undefined {
    const credentials = this.#options.readCredentials?.();
    return credentials === undefined ? undefined : { credentials, revoked: this.#revoked };
  }

  #takeDeath(error: NoodleError): void {
    this.#observationsDropped += this.stats?.observationsDropped ?? 0;
    this.#deaths += 1;
    this.#host = undefined;
    if (this.#options.signal.aborted) return;
    if (performance.now() - this.#startedMs > HEALTHY_MS) this.#restarts = 0;
    this.#options.onDeath(error);
  }
}
