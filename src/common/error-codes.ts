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
    | "PERMISSION_DENIED"
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
  // state
  STATE_DAMAGED: { exit: 1, http: 500, grpc: "DATA_LOSS", retryable: false, cure: "start the coordinator again: the damaged store lies beside the new one, under the name that the message gives" },
  STATE_VERSION: { exit: 2, http: 500, grpc: "FAILED_PRECONDITION", retryable: false, cure: "a newer release wrote this state: use that one, or another data directory" },
  STATE_TAKEN: { exit: 1, http: 503, grpc: "ABORTED", retryable: true, cure: "a later coordinator works on this state: use that one and stop this one, or give it another data directory" },
  STATE_BUSY: { exit: 1, http: 503, grpc: "UNAVAILABLE", retryable: true, cure: "the disk of the data directory does not keep up, or another process holds the state: try again" },
  // logs
  LOG_VERSION: { exit: 2, http: 400, grpc: "INVALID_ARGUMENT", retryable: false, cure: "read the file with the release that wrote it; its header names it" },
  LOG_MALFORMED: { exit: 2, http: 400, grpc: "INVALID_ARGUMENT", retryable: false, cure: "give log files (DIR/<producer>.<stream>.<number>.jsonl); docs/logs.md says what is in them" },
  RUN_FOLDER_INVALID: { exit: 2, http: 400, grpc: "INVALID_ARGUMENT", retryable: false, cure: "give a folder that `noodle demo` or a cluster with logs wrote, or a profile of `noodle profile`" },
  // traces
  TRACE_INVALID: { exit: 2, http: 400, grpc: "INVALID_ARGUMENT", retryable: false, cure: "the document is damaged, too large or of another release: make it again with `noodle trace`" },
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
  // planning
  PROBLEM_INVALID: { exit: 2, http: 400, grpc: "INVALID_ARGUMENT", retryable: false, cure: "correct the field that the message names; `noodle plan --help` names the schema" },
  PROBLEM_TOO_LARGE: { exit: 2, http: 413, grpc: "INVALID_ARGUMENT", retryable: false, cure: "write a smaller problem: the message names the limit" },
  PLAN_INVALID: { exit: 2, http: 400, grpc: "INVALID_ARGUMENT", retryable: false, cure: "stages must follow one another from unit 0 to the last, each node in one of them" },
  PLAN_INFEASIBLE: { exit: 1, http: 409, grpc: "FAILED_PRECONDITION", retryable: false, cure: "the message names what is short; more memory, a shorter --context, fewer --streams or another node would help" },
  CLUSTER_INVALID: { exit: 2, http: 400, grpc: "INVALID_ARGUMENT", retryable: false, cure: "correct the line that the message names; docs/cluster.md describes the file" },
  WORKLOAD_INVALID: { exit: 2, http: 400, grpc: "INVALID_ARGUMENT", retryable: false, cure: "give one JSON object a line with timestamp, input_length and output_length" },
  SIMULATION_INVALID: { exit: 2, http: 400, grpc: "INVALID_ARGUMENT", retryable: false, cure: "correct what the message names" },
  // engine
  ENGINE_NOT_FOUND: { exit: 1, http: 500, grpc: "FAILED_PRECONDITION", retryable: false, cure: "run `noodle doctor`: it names the package to install" },
  ENGINE_INCOMPATIBLE: { exit: 1, http: 500, grpc: "FAILED_PRECONDITION", retryable: false, cure: "install the engine package of exactly the pinned version" },
  ENGINE_LOAD_FAILED: { exit: 1, http: 500, grpc: "INTERNAL", retryable: false, cure: "the message carries the engine's own words; check memory and the file" },
  ENGINE_KV_FULL: { exit: 1, http: 503, grpc: "RESOURCE_EXHAUSTED", retryable: true, cure: "raise --context or --parallel, or wait for a session to end" },
  ENGINE_ABORTED: { exit: 1, http: 500, grpc: "INTERNAL", retryable: true, cure: "the engine process died and is restarted; try again, and report it if it comes back" },
  ENGINE_FAILED: { exit: 1, http: 500, grpc: "INTERNAL", retryable: false, cure: "the message carries the engine's own words" },
  NON_FINITE: { exit: 1, http: 500, grpc: "DATA_LOSS", retryable: false, cure: "weights or activations hold NaN or infinity: get the file again, or suspect the machine that the message names" },
  VERIFY_FAILED: { exit: 1, http: 500, grpc: "DATA_LOSS", retryable: false, cure: "the pipeline's output differs from the undivided engine's: do not use this cut; please report it" },
  HOOK_POINT_UNKNOWN: { exit: 2, http: 400, grpc: "INVALID_ARGUMENT", retryable: false, cure: "use one of the points that the message names; listHookPoints(stage.info) lists a stage's" },
  HOOK_POINT_TAKEN: { exit: 2, http: 409, grpc: "ALREADY_EXISTS", retryable: false, cure: "call the function that the first registration returned, then register again" },
  // profiles
  PROFILE_INVALID: { exit: 2, http: 400, grpc: "INVALID_ARGUMENT", retryable: false, cure: "the document is damaged, too large or of another release: make it again with `noodle profile`" },
  PROFILE_MISMATCH: { exit: 2, http: 409, grpc: "FAILED_PRECONDITION", retryable: false, cure: "profile this model on this machine with `noodle profile`, or leave out --strict" },
  // security
  EXPOSURE_REFUSED: { exit: 2, http: 400, grpc: "FAILED_PRECONDITION", retryable: false, cure: "protect it as the message says (SECURITY.md), or listen on 127.0.0.1" },
  PEER_UNTRUSTED: { exit: 3, http: 502, grpc: "FAILED_PRECONDITION", retryable: false, cure: "both ends need a certificate of one cluster that has not ended: `noodle cluster token` lets a worker in again; NOODLE_CLUSTER_DIR names the folder for other commands" },
  ACCESS_DENIED: { exit: 1, http: 403, grpc: "PERMISSION_DENIED", retryable: false, cure: "`noodle cluster nodes` shows who is a member; a node that was shut out needs another data directory and token" },
  JOIN_TOKEN_INVALID: { exit: 2, http: 401, grpc: "PERMISSION_DENIED", retryable: false, cure: "make another with `noodle cluster token`: each lets one worker in, for a while" },
  SECURITY_FILE_INVALID: { exit: 2, http: 500, grpc: "FAILED_PRECONDITION", retryable: false, cure: "restore the file that the message names from a copy, or make another identity" },
  // protocol and cluster
  FRAME_CORRUPT: { exit: 1, http: 502, grpc: "DATA_LOSS", retryable: true, cure: "a frame was damaged on the way and was refused; try again, and check the network if it comes back" },
  FRAME_INVALID: { exit: 1, http: 502, grpc: "INVALID_ARGUMENT", retryable: false, cure: "the peer does not speak this protocol: use the same release everywhere" },
  STALE_EPOCH: { exit: 1, http: 409, grpc: "ABORTED", retryable: true, cure: "the cluster moved to a newer plan: open a new session" },
  STEP_OUT_OF_ORDER: { exit: 1, http: 409, grpc: "FAILED_PRECONDITION", retryable: true, cure: "send the position that the message names" },
  SESSION_NOT_FOUND: { exit: 1, http: 404, grpc: "NOT_FOUND", retryable: false, cure: "the session was closed or its lease ran out: open a new one" },
  PREFIX_GONE: { exit: 1, http: 500, grpc: "NOT_FOUND", retryable: true, cure: "try again: the prompt is then read as a whole" },
  QUEUE_FULL: { exit: 1, http: 429, grpc: "RESOURCE_EXHAUSTED", retryable: true, cure: "wait as long as Retry-After says, send less at once, or raise --parallel or --queue" },
  DEADLINE_EXCEEDED: { exit: 4, http: 504, grpc: "DEADLINE_EXCEEDED", retryable: true, cure: "give the request more time, or send it when the cluster is less busy" },
  LIMIT_EXCEEDED: { exit: 2, http: 400, grpc: "INVALID_ARGUMENT", retryable: false, cure: "stay within the limit that the message names" },
  BODY_TOO_LARGE: { exit: 2, http: 413, grpc: "INVALID_ARGUMENT", retryable: false, cure: "send less in one request" },
  REQUEST_INVALID: { exit: 2, http: 400, grpc: "INVALID_ARGUMENT", retryable: false, cure: "correct the field that the message names" },
  NOT_SUPPORTED: { exit: 2, http: 400, grpc: "UNIMPLEMENTED", retryable: false, cure: "leave the field away; docs/api.md lists what is there" },
  IDEMPOTENCY_MISMATCH: { exit: 2, http: 422, grpc: "INVALID_ARGUMENT", retryable: false, cure: "give every request a key of its own, and repeat a request with the same body" },
  IDEMPOTENCY_RUNNING: { exit: 1, http: 409, grpc: "ALREADY_EXISTS", retryable: true, cure: "the first request with this key still runs: ask again when it is over" },
  GENERATION_GONE: { exit: 1, http: 404, grpc: "NOT_FOUND", retryable: false, cure: "send the request again without Last-Event-ID: it is computed afresh" },
  MODEL_NOT_FOUND: { exit: 2, http: 404, grpc: "NOT_FOUND", retryable: false, cure: "GET /v1/models lists the models that are served" },
  GRAMMAR_INVALID: { exit: 2, http: 400, grpc: "INVALID_ARGUMENT", retryable: false, cure: "correct the grammar or the schema where the message says" },
  TEMPLATE_FAILED: { exit: 2, http: 400, grpc: "INVALID_ARGUMENT", retryable: false, cure: "send messages that the model's chat template accepts, or use /v1/completions" },
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
