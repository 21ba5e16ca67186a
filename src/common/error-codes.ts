/**
 * Every error code of NoodleCore, in one table: what exit code, HTTP status and gRPC status it becomes, whether trying
 * again can help, and the cure. `docs/errors.md` lists the same rows; a test compares both ways.
 */
export interface ErrorCodeRow {
  /** Exit code of the `noodle` command: 1 failure, 2 wrong usage or input, 3 peer not reachable, 4 timed out, 130 interrupted. */
  readonly exit: 1 | 2 | 3 | 4 | 130;
  readonly http: number;
  /** Name of the gRPC status. */
  readonly grpc:
    | "INVALID_ARGUMENT"
    | "NOT_FOUND"
    | "ALREADY_EXISTS"
    | "FAILED_PRECONDITION"
    | "ABORTED"
    | "RESOURCE_EXHAUSTED"
    | "UNAVAILABLE"
    | "DEADLINE_EXCEEDED"
    | "DATA_LOSS"
    | "CANCELLED"
    | "UNIMPLEMENTED"
    | "INTERNAL";
  readonly retryable: boolean;
  /** What the reader of the error can do about it. */
  readonly cure: string;
}

// biome-ignore format: a row is read as a row.
export const ERROR_CODES = {
  // usage
  USAGE: { exit: 2, http: 400, grpc: "INVALID_ARGUMENT", retryable: false, cure: "run the command with --help" },
  ILLEGAL_STATE: { exit: 1, http: 500, grpc: "INTERNAL", retryable: false, cure: "a bug in the caller: something was used after close or twice; please report it" },
  INTERNAL: { exit: 1, http: 500, grpc: "INTERNAL", retryable: false, cure: "please report it with the message" },
  INTERRUPTED: { exit: 130, http: 499, grpc: "CANCELLED", retryable: true, cure: "you stopped it; run it again" },
  TIMED_OUT: { exit: 4, http: 504, grpc: "DEADLINE_EXCEEDED", retryable: true, cure: "look at `noodle status` for what was slow, or raise the timeout" },
  // files
  FILE_NOT_FOUND: { exit: 2, http: 404, grpc: "NOT_FOUND", retryable: false, cure: "check the path" },
  FILE_UNREADABLE: { exit: 2, http: 400, grpc: "FAILED_PRECONDITION", retryable: false, cure: "check the path and its permissions" },
  DISK_FULL: { exit: 1, http: 507, grpc: "RESOURCE_EXHAUSTED", retryable: true, cure: "free space in the data directory, or choose another with --data" },
  // gguf
  GGUF_BAD_MAGIC: { exit: 2, http: 400, grpc: "INVALID_ARGUMENT", retryable: false, cure: "give a GGUF file; other formats must be converted first" },
  GGUF_WRONG_ENDIAN: { exit: 2, http: 400, grpc: "INVALID_ARGUMENT", retryable: false, cure: "convert the file to this machine's byte order" },
  GGUF_UNSUPPORTED: { exit: 2, http: 400, grpc: "INVALID_ARGUMENT", retryable: false, cure: "use a file of a version and tensor types that this engine release knows" },
  GGUF_TRUNCATED: { exit: 2, http: 400, grpc: "INVALID_ARGUMENT", retryable: false, cure: "the file is incomplete: get it again" },
  GGUF_MALFORMED: { exit: 2, http: 400, grpc: "INVALID_ARGUMENT", retryable: false, cure: "the file is damaged or was not written by a sound tool: get it again" },
  GGUF_LIMIT_EXCEEDED: { exit: 2, http: 400, grpc: "INVALID_ARGUMENT", retryable: false, cure: "the header asks for more than any sound model needs; src/gguf/limits.ts gives each limit and its reason" },
  // model and cuts
  MODEL_UNSUPPORTED: { exit: 2, http: 400, grpc: "INVALID_ARGUMENT", retryable: false, cure: "use a model of an architecture listed in docs/architectures.md" },
  MODEL_UNVERIFIED: { exit: 2, http: 400, grpc: "FAILED_PRECONDITION", retryable: false, cure: "give --unverified: the cut is then verified against the undivided model before it is used" },
  CUT_OUT_OF_RANGE: { exit: 2, http: 400, grpc: "INVALID_ARGUMENT", retryable: false, cure: "`noodle inspect MODEL` lists the units" },
  CUT_ILLEGAL: { exit: 2, http: 400, grpc: "INVALID_ARGUMENT", retryable: false, cure: "use one of the nearest legal cuts that the message names" },
  SPLIT_INVALID: { exit: 2, http: 400, grpc: "INVALID_ARGUMENT", retryable: false, cure: "write the split as A:B,B:C,... from 0 to the last unit, without gap or overlap" },
  CONTEXT_EXCEEDED: { exit: 2, http: 400, grpc: "INVALID_ARGUMENT", retryable: false, cure: "shorten the prompt or raise --context up to the model's limit" },
  PROMPT_EMPTY: { exit: 2, http: 400, grpc: "INVALID_ARGUMENT", retryable: false, cure: "give a prompt of at least one token" },
  // engine
  ENGINE_NOT_FOUND: { exit: 1, http: 500, grpc: "FAILED_PRECONDITION", retryable: false, cure: "run `noodle doctor`: it names the package to install" },
  ENGINE_INCOMPATIBLE: { exit: 1, http: 500, grpc: "FAILED_PRECONDITION", retryable: false, cure: "install the engine package of exactly the pinned version" },
  ENGINE_LOAD_FAILED: { exit: 1, http: 500, grpc: "INTERNAL", retryable: false, cure: "the message carries the engine's own words; check memory and the file" },
  ENGINE_KV_FULL: { exit: 1, http: 503, grpc: "RESOURCE_EXHAUSTED", retryable: true, cure: "raise --context or --parallel, or wait for a session to end" },
  ENGINE_ABORTED: { exit: 1, http: 500, grpc: "INTERNAL", retryable: true, cure: "the engine process died and is restarted; try again, and report it if it comes back" },
  ENGINE_FAILED: { exit: 1, http: 500, grpc: "INTERNAL", retryable: false, cure: "the message carries the engine's own words" },
  NON_FINITE: { exit: 1, http: 500, grpc: "DATA_LOSS", retryable: false, cure: "weights or activations hold NaN or infinity: get the file again, or suspect the machine that the message names" },
  VERIFY_FAILED: { exit: 1, http: 500, grpc: "DATA_LOSS", retryable: false, cure: "the pipeline's output differs from the undivided engine's: do not use this cut; please report it" },
  // protocol and cluster
  FRAME_CORRUPT: { exit: 1, http: 502, grpc: "DATA_LOSS", retryable: true, cure: "a frame was damaged on the way and was refused; try again, and check the network if it comes back" },
  FRAME_INVALID: { exit: 1, http: 502, grpc: "INVALID_ARGUMENT", retryable: false, cure: "the peer does not speak this protocol: use the same release everywhere" },
  STALE_EPOCH: { exit: 1, http: 409, grpc: "ABORTED", retryable: true, cure: "the cluster moved to a newer plan: open a new session" },
  STEP_OUT_OF_ORDER: { exit: 1, http: 409, grpc: "FAILED_PRECONDITION", retryable: true, cure: "send the position that the message names" },
  SESSION_NOT_FOUND: { exit: 1, http: 404, grpc: "NOT_FOUND", retryable: false, cure: "the session was closed or its lease ran out: open a new one" },
  SESSION_LIMIT: { exit: 1, http: 503, grpc: "RESOURCE_EXHAUSTED", retryable: true, cure: "wait for a session to end, or raise --parallel" },
  PROTOCOL_MISMATCH: { exit: 1, http: 502, grpc: "FAILED_PRECONDITION", retryable: false, cure: "install the same noodlecore release on every machine" },
  BUILD_MISMATCH: { exit: 1, http: 502, grpc: "FAILED_PRECONDITION", retryable: false, cure: "install the same engine package on every machine" },
  MEMORY_INSUFFICIENT: { exit: 1, http: 503, grpc: "RESOURCE_EXHAUSTED", retryable: false, cure: "give this worker fewer units with --split, lower --context or --parallel, or add a machine" },
  STAGE_CORRUPT: { exit: 1, http: 500, grpc: "DATA_LOSS", retryable: true, cure: "the stage file failed its hash and was removed: it will be fetched or cut again" },
  CANARY_MISMATCH: { exit: 1, http: 500, grpc: "DATA_LOSS", retryable: false, cure: "this worker computes something else than its peers: check its memory, its engine build and CPU variant" },
  PEER_UNREACHABLE: { exit: 3, http: 503, grpc: "UNAVAILABLE", retryable: true, cure: "check the address, and that the coordinator or worker runs there" },
  PEER_DEAD: { exit: 3, http: 503, grpc: "UNAVAILABLE", retryable: true, cure: "a worker went away in the middle of the work: start it again and repeat the request" },
  PEER_STALLED: { exit: 4, http: 504, grpc: "DEADLINE_EXCEEDED", retryable: true, cure: "a worker holds its connection but does not answer: look at its machine" },
  PORT_IN_USE: { exit: 2, http: 500, grpc: "FAILED_PRECONDITION", retryable: false, cure: "choose another port, or stop what uses it" },
  CLUSTER_NOT_READY: { exit: 1, http: 503, grpc: "UNAVAILABLE", retryable: true, cure: "wait for all workers to be ready; `noodle status` shows them" },
} as const satisfies Record<string, ErrorCodeRow>;

export type ErrorCode = keyof typeof ERROR_CODES;
