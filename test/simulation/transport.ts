import { create, type DescMethod, type DescService } from "@bufbuild/protobuf";
import { must, NoodleError } from "../../src/common/index.ts";
import type {
  CallContext,
  NoodleServer,
  ServerOptions,
  ServiceBinding,
  StreamOptions,
  Transport,
  UnaryOptions,
} from "../../src/net/index.ts";
import type { SimConnection, SimNetwork } from "./network.ts";
import { SimStream } from "./stream.ts";
import type { SimProcess } from "./virtual-time.ts";

const CONNECT_TIMEOUT_MS = 2000;
/** A caller of a simulation that gives up just does not listen any more. */
const NEVER = new AbortController().signal;
type Handler = (input: unknown, context: CallContext) => unknown;

/** How one process of the simulation reaches the others, in place of gRPC. */
export function createTransport(network: SimNetwork, process: SimProcess): Transport {
  process.onDeath(() => network.forget(process));
  return {
    // What the generic signature promises is made method by method, which is more than the compiler can follow.
    createClient: ((service: DescService, address: string) =>
      new SimClient(network, process, service, address)) as unknown as Transport["createClient"],
    createServer: (options) => new SimServer(network, process, options),
  };
}

class SimServer implements NoodleServer {
  readonly #network: SimNetwork;
  readonly #process: SimProcess;
  readonly #options: ServerOptions;
  readonly #address: string;

  constructor(network: SimNetwork, process: SimProcess, options: ServerOptions) {
    this.#network = network;
    this.#process = process;
    this.#options = options;
    this.#address = `${options.host ?? process.machine}:${options.port ?? 7421}`;
  }

  async start(): Promise<number> {
    this.#network.listen(this.#address, { process: this.#process, services: this.#options.services });
    return this.#options.port ?? 7421;
  }

  setServing(): void {}

  renew(): void {}

  cutOff(): void {}

  async close(): Promise<void> {
    this.#network.close(this.#address, this.#process);
  }
}

class SimClient {
  readonly address: string;
  readonly rpc: Record<string, unknown> = {};
  readonly #network: SimNetwork;
  readonly #process: SimProcess;
  readonly #service: DescService;
  #connection: SimConnection | null = null;
  #connecting: Promise<SimConnection> | null = null;
  #isClosed = false;
  readonly #open = new Set<(error: NoodleError) => void>();

  constructor(network: SimNetwork, process: SimProcess, service: DescService, address: string) {
    this.#network = network;
    this.#process = process;
    this.#service = service;
    this.address = address;
    for (const method of service.methods) {
      if (method.methodKind === "unary")
        this.rpc[method.localName] = (request: unknown, options: UnaryOptions) => this.#unary(method, request, options);
      else if (method.methodKind === "bidi_streaming")
        this.rpc[method.localName] = (options?: StreamOptions) => this.#bidi(method, options);
    }
  }

  async connect(signal?: AbortSignal): Promise<void> {
    await this.#reach(signal);
  }

  close(): void {
    this.#isClosed = true;
    const error = new NoodleError("INTERRUPTED", `the client of ${this.address} was closed`);
    for (const end of this.#open) end(error);
    this.#connection?.reset();
  }

  async #reach(signal?: AbortSignal): Promise<SimConnection> {
    if (this.#isClosed) throw new NoodleError("ILLEGAL_STATE", `the client of ${this.address} was closed`);
    if (signal?.aborted === true) throw new NoodleError("INTERRUPTED", "the call was interrupted");
    if (this.#connection?.isOpen === true) return this.#connection;
    this.#connecting ??= this.#dial().finally(() => {
      this.#connecting = null;
    });
    return await this.#connecting;
  }

  /** A round trip; nobody on the way back, or nobody at all, is found out by time. */
  #dial(): Promise<SimConnection> {
    const { time } = this.#network;
    return new Promise((resolve, reject) => {
      let connection: SimConnection;
      const timer = time.schedule(CONNECT_TIMEOUT_MS, this.#process, () => {
        connection.reset();
        reject(new NoodleError("PEER_UNREACHABLE", `${this.address} does not answer`));
      });
      try {
        connection = this.#network.connect(this.#process, this.address);
      } catch (error) {
        time.cancel(timer);
        time.schedule(1, this.#process, () => reject(NoodleError.from(error)));
        return;
      }
      const answered = (): void => {
        time.cancel(timer);
        connection.onLost.back.delete(lost);
        this.#connection = connection;
        if (!this.#isClosed) return resolve(connection);
        connection.reset();
        reject(new NoodleError("INTERRUPTED", `the client of ${this.address} was closed`));
      };
      const lost = (): void => {
        time.cancel(timer);
        reject(new NoodleError("PEER_UNREACHABLE", `${this.address} hung up`));
      };
      connection.onLost.back.add(lost);
      connection.send("there", () => connection.send("back", answered));
    });
  }

  async #unary(method: DescMethod, request: unknown, options: UnaryOptions): Promise<unknown> {
    const message = create(method.input, request as Record<string, unknown>);
    const connection = await this.#reach(options.signal);
    const { time } = this.#network;
    return await new Promise((resolve, reject) => {
      const settle = (): void => {
        time.cancel(timer);
        this.#open.delete(fail);
        connection.onLost.back.delete(lost);
        options.signal?.removeEventListener("abort", abort);
      };
      const fail = (error: NoodleError): void => {
        settle();
        reject(error);
      };
      const lost = (): void => fail(new NoodleError("PEER_DEAD", `${this.address}: the connection was lost`));
      const abort = (): void => fail(new NoodleError("INTERRUPTED", `${method.name} was interrupted`));
      const timer = time.schedule(options.timeoutMs, this.#process, () =>
        fail(new NoodleError("TIMED_OUT", `${this.address} did not answer within ${options.timeoutMs} ms`)),
      );
      this.#open.add(fail);
      connection.onLost.back.add(lost);
      options.signal?.addEventListener("abort", abort, { once: true });
      connection.send("there", () => {
        void this.#serve(connection, method, message).then((answer) =>
          connection.send("back", () => {
            settle();
            if (answer instanceof NoodleError) reject(answer);
            else resolve(answer);
          }),
        );
      });
    });
  }

  /** On the other side: what the handler answers, or its error as it travels. */
  async #serve(connection: SimConnection, method: DescMethod, message: unknown): Promise<unknown> {
    try {
      const handler = this.#findHandler(connection, method);
      this.#network.onCall(method.name, message);
      const context = { peer: connection.client.name, identity: null, signal: NEVER };
      return create(method.output, (await handler(message, context)) as Record<string, unknown>);
    } catch (error) {
      return NoodleError.fromJSON(JSON.parse(JSON.stringify(NoodleError.from(error).toJSON())));
    }
  }

  async #bidi(method: DescMethod, options: StreamOptions = {}): Promise<SimStream> {
    const connection = await this.#reach(options.signal);
    const network = this.#network;
    const { client, server } = connection;
    const end = (error: NoodleError): void => near.finish(error);
    const near: SimStream = new SimStream({
      network,
      connection,
      side: "client",
      outgoing: method.input,
      peer: this.address,
      onOver: () => this.#open.delete(end),
    });
    this.#open.add(end);
    const gone = new AbortController();
    const onOver = (error: NoodleError): void => gone.abort(error);
    const far = new SimStream({
      network,
      connection,
      side: "server",
      outgoing: method.output,
      peer: client.name,
      onOver,
    });
    near.other = far;
    connection.send("there", () => {
      far.other = near;
      try {
        const handler = this.#findHandler(connection, method);
        const outcome = handler(far, { peer: client.name, identity: null, signal: gone.signal });
        Promise.resolve(outcome).catch((thrown: unknown) => far.cancel(NoodleError.from(thrown)));
      } catch (thrown) {
        far.cancel(NoodleError.from(thrown));
      }
    });
    if (!server.isAlive) connection.reset();
    return near;
  }

  #findHandler({ server }: SimConnection, method: DescMethod): Handler {
    const found = this.#network.findService(this.address, this.#service);
    const binding: ServiceBinding | undefined = found?.listener.process === server ? found.binding : undefined;
    if (binding === undefined) throw new NoodleError("PEER_DEAD", `${this.address} is closing`);
    return must(binding.handlers[method.localName], method.name) as Handler;
  }
}
