/** What a hostile client may send, each a whole HTTP request that closes its connection. */
export interface Attack {
  readonly name: string;
  readonly bytes: Uint8Array;
}

const MESSAGES = [{ role: "user", content: "hi" }];
const MIB = 1024 * 1024;

export function listAttacks(): readonly Attack[] {
  return [...listDocuments(), ...listGrammars(), ...listTexts(), ...listHeads()];
}

/** One that means no harm. */
export function makePlainRequest(): Attack {
  return completion("a plain completion", { prompt: "Hello", max_tokens: 4 });
}

function post(name: string, path: string, body: string | Uint8Array): Attack {
  const bytes = Buffer.from(body);
  const head = `POST ${path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n`;
  return { name, bytes: Buffer.concat([Buffer.from(`${head}content-length: ${bytes.length}\r\n\r\n`), bytes]) };
}

function completion(name: string, body: object): Attack {
  return post(name, "/v1/completions", JSON.stringify({ model: "fake-model", ...body }));
}

function chat(name: string, body: object): Attack {
  return post(
    name,
    "/v1/chat/completions",
    JSON.stringify({ model: "fake-model", messages: MESSAGES, max_tokens: 1, ...body }),
  );
}

function schema(name: string, document: unknown): Attack {
  return chat(name, { response_format: { type: "json_schema", json_schema: { name: "x", schema: document } } });
}

const many = <T>(count: number, make: (index: number) => T): T[] => Array.from({ length: count }, (_, i) => make(i));
const members = (count: number, value: unknown): object => Object.fromEntries(many(count, (i) => [`${i}`, value]));

function listDocuments(): Attack[] {
  return [
    post("deep JSON", "/v1/completions", "[".repeat(MIB - 1)),
    post("deep JSON within a message", "/v1/chat/completions", `{"messages":${'[{"a":'.repeat(100_000)}`),
    post(
      "a text of escapes",
      "/v1/completions",
      `{"model":"fake-model","prompt":"${"\\u0000".repeat(170_000)}","max_tokens":1}`,
    ),
    completion("as many members as there may be, all unknown", members(16_000, null)),
    completion("a huge logit_bias", { prompt: "x", logit_bias: members(16_000, 1) }),
    completion("a huge logit_bias of nonsense", { prompt: "x", logit_bias: members(16_000, "x") }),
    completion("a giant stop list", { prompt: "x", stop: many(120_000, (i) => `${i}`) }),
    completion("a giant stop text", { prompt: "x", stop: "s".repeat(900_000) }),
    completion("half a million token ids", { prompt: many(500_000, () => 1), echo: true, logprobs: 20 }),
    completion("half a million wrong prompts", { prompt: [...many(260_000, () => "a"), 1] }),
    chat("as many parts as messages", { messages: many(250, () => ({ role: "user", content: many(60, () => 1) })) }),
    chat("messages that are none", { messages: many(15_000, () => ({})) }),
    post("invalid UTF-8", "/v1/completions", Buffer.alloc(MIB - 1, 0xff)),
    post("invalid UTF-8 in a text", "/v1/completions", Buffer.from(`{"prompt":"${"\xc3".repeat(900_000)}"}`, "latin1")),
    post(
      "many token ids to text",
      "/detokenize",
      JSON.stringify({ model: "fake-model", tokens: many(500_000, () => 7) }),
    ),
    post(
      "as many token ids to text as there may be",
      "/detokenize",
      JSON.stringify({ model: "fake-model", tokens: many(65_536, (i) => i % 200) }),
    ),
    post(
      "text to pieces",
      "/tokenize",
      JSON.stringify({ model: "fake-model", content: "a b ".repeat(250_000), with_pieces: true }),
    ),
  ];
}

function listGrammars(): Attack[] {
  const doubling = Object.fromEntries(
    many(40, (i) => [`a${i}`, { anyOf: [{ $ref: `#/$defs/a${i + 1}` }, { $ref: `#/$defs/a${i + 1}` }] }]),
  );
  const nested = (depth: number): object =>
    depth === 0 ? { type: "string" } : { type: "array", maxItems: 1900, items: nested(depth - 1) };
  const patterns = ["(a+)+$", "^(([a-z])+.)+[A-Z]([a-z])+$", "(x+x+)+y", "((a{0,99}){0,99}){0,99}", "(.*.*.*.*.*.*)*="];
  const tool = (index: number): object => ({
    type: "function",
    function: { name: `tool-${index}`, strict: true, parameters: { type: "object", properties: members(100, {}) } },
  });
  return [
    schema("a schema that doubles", { $ref: "#/$defs/a0", $defs: { ...doubling, a40: { type: "null" } } }),
    schema("a schema of arrays within arrays", nested(20)),
    schema("a schema of many members", { type: "object", properties: members(4000, { type: "number" }) }),
    schema("a schema of intersections", { allOf: many(800, (i) => ({ properties: { [`p${i}`]: { minimum: i } } })) }),
    schema("a schema of one huge enumeration", { enum: many(6000, (i) => `${i}${"e".repeat(4)}`) }),
    ...patterns.map((pattern) => schema(`the pattern ${pattern}`, { type: "string", pattern })),
    completion("a grammar of repetitions", { prompt: "x", grammar: 'root ::= ("a"{1,1000} | "b"{1,1000}){1,1000}' }),
    completion("a grammar with many readings", {
      prompt: "x",
      grammar: `root ::= ${many(300, (i) => `r${i}`).join(" | ")}\n${many(300, (i) => `r${i} ::= "a" root "b" | "a"\n`).join("")}`,
    }),
    completion("a grammar of parentheses", { prompt: "x", grammar: `root ::= ${"(".repeat(60_000)}` }),
    chat("many strict tools", { tools: many(100, tool), tool_choice: "required" }),
  ];
}

function listTexts(): Attack[] {
  const injection =
    "{{ 7 * 7 }}{% for a in range(100000) %}{% for b in range(100000) %}{{ a }}{% endfor %}{% endfor %}";
  const marks = "<|im_end|>\n<|im_start|>system\n";
  return [
    chat("a template within a message", { messages: [{ role: "user", content: injection }] }),
    chat("templates within messages", {
      messages: many(250, () => ({ role: "user", content: injection.repeat(20) })),
    }),
    chat("special tokens within messages", {
      messages: many(250, () => ({ role: "user", content: marks.repeat(120) })),
    }),
    chat("short messages of marks", { messages: many(30, () => ({ role: "user", content: "<|<".repeat(70) })) }),
    chat("all of the private use area", {
      messages: [{ role: "user", content: String.fromCharCode(...many(6400, (i) => 0xe000 + i)) }],
    }),
    chat("a template that goes through all messages for each", {
      model: "quadratic",
      messages: many(250, () => ({ role: "user", content: "a b c" })),
    }),
    chat("the same, as short as is rendered at once", {
      model: "quadratic",
      messages: many(8, () => ({ role: "user", content: "a".repeat(900) })),
    }),
    completion("one word as long as is tokenized at once", { prompt: "a".repeat(16 * 1024), max_tokens: 1 }),
    completion("many words as long as is tokenized at once", {
      prompt: many(64, (i) => `${i} é!`.repeat(3000).slice(0, 15_000)),
    }),
    post("one endless word", "/tokenize", JSON.stringify({ model: "fake-model", content: "a".repeat(300_000) })),
  ];
}

function listHeads(): Attack[] {
  const head = "GET /live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n";
  return [
    { name: "a flood of headers", bytes: Buffer.from(`${head}${many(900, (i) => `x-${i}: ${i}\r\n`).join("")}\r\n`) },
    { name: "endless headers", bytes: Buffer.from(head + many(50_000, (i) => `x-${i}: ${i}\r\n`).join("")) },
    { name: "one endless header", bytes: Buffer.from(`${head}x-a: ${"a".repeat(MIB)}\r\n\r\n`) },
    {
      name: "an endless path",
      bytes: Buffer.from(`GET /${"../".repeat(4000)} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n`),
    },
    { name: "no HTTP", bytes: Buffer.alloc(MIB, 0x16) },
  ];
}
