/** Rows of the matrix that are not made with real processes, and why. */
export const ABSENT_ROWS: readonly { readonly row: number; readonly fault: string; readonly why: string }[] = [
  { row: 15, fault: "the gateway dies during a stream", why: "the API lives in the coordinator's process: row 13" },
  {
    row: 18,
    fault: "EIO, read-only file system, failing fsync",
    why: "no fault injection in the kernel and no device mapper here; full disks are row 17, failing writes of the journal are tests of src/store",
  },
  {
    row: 21,
    fault: "the clock jumps by a day",
    why: "no libfaketime here; leases are told by monotonic clocks alone, which the deterministic simulation injects",
  },
  {
    row: 22,
    fault: "memory pressure, the engine is killed for memory",
    why: "a kill for memory is a SIGKILL of the stage host: row 2; limits of control groups need a host of one's own",
  },
  {
    row: 23,
    fault: "file descriptors run out, idle connections, slow headers",
    why: "tests of src/api (limits, sockets, fuzz) hold them against a real server",
  },
  { row: 24, fault: "ten times the load", why: "`npm run bench -- serve-soak` and the tests of the waiting line" },
  {
    row: 26,
    fault: "rolling upgrade",
    why: "there is one version so far; the handshake's refusal is tested in src/cluster",
  },
  {
    row: 28,
    fault: "another CPU variant on the replacement",
    why: "one machine has one CPU; variants that differ are refused by the tests of src/cluster/state",
  },
  { row: 29, fault: "bad join", why: "test/integration/secure-cluster.test.ts, with real processes" },
  { row: 30, fault: "sweep of authentication", why: "tests of src/api, generated from the route table" },
  { row: 31, fault: "known attacks on peers", why: "tests of src/api (fuzz, attacks) and src/gguf" },
];
