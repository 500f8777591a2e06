import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { readFileSync } from "node:fs";
import type { BuiltModule } from "../support/built-agents.ts";
import { BUILD_TIMEOUT_MS, builtFixture } from "../support/built-agents.ts";
import { Guest } from "../support/guest.ts";
import type { ResponseInput } from "../support/guest.ts";
import { withMemoryMaximum } from "../support/wasm-bytes.ts";

let built: BuiltModule;
let guest: Guest;

beforeAll(async () => {
  built = await builtFixture("sdk-probe");
}, BUILD_TIMEOUT_MS);

beforeEach(() => {
  guest = new Guest(built.module);
  guest.init({ config: { parameters: { colour: "green" } } });
});

const say = (content: string, on = guest) => on.message(content).response!.content;

describe("the module", () => {
  test("exports the ABI under plain names and imports nothing that is not in it", () => {
    expect(WebAssembly.Module.exports(built.module).map(({ name }) => name).toSorted()).toEqual(["memory", "sirsi_abi", "sirsi_alloc", "sirsi_call", "sirsi_free"]);
    expect(WebAssembly.Module.imports(built.module).map(({ module, name }) => `${module}.${name}`).toSorted()).toEqual(["env.abort", "sirsi.emit", "sirsi.log", "sirsi.now", "sirsi.random", "sirsi.request"]);
    expect(guest.exports.sirsi_abi()).toBe(1);
  });

  test("gives 0 for room that cannot be, and goes on", () => {
    expect(guest.exports.sirsi_alloc(-1)).toBe(0);
    expect(guest.exports.sirsi_alloc(2 ** 31 - 1)).toBe(0);
    const bounded = new Guest(new WebAssembly.Module(withMemoryMaximum(readFileSync(built.file), 32)));
    bounded.init();
    expect(bounded.exports.sirsi_alloc(4 << 20)).toBe(0);
    const most = bounded.exports.sirsi_alloc(1_000_000);
    expect(most).toBeGreaterThan(0);
    expect(bounded.exports.sirsi_alloc(1_000_000)).toBe(0);
    bounded.exports.sirsi_free(most);
    expect(bounded.exports.sirsi_alloc(1_000_000)).toBe(most);
    expect(say("now", bounded)).toBe(String(bounded.nowMs));
  });

  test("uses large room again instead of growing", () => {
    const file = new Uint8Array(300_000).fill(0x61);
    const send = () => guest.message({ content: "not utf8", attachments: [{ content: { case: "data", value: file } }] });
    for (let i = 0; i < 5; i++) send();
    const settled = guest.exports.memory.buffer.byteLength;
    for (let i = 0; i < 100; i++) send();
    expect(guest.exports.memory.buffer.byteLength).toBe(settled);
  });

  test("collects garbage within a step", () => {
    expect(say("garbage")).toBe("200000000");
    expect(guest.exports.memory.buffer.byteLength).toBeLessThan(4 << 20);
  });

  test("holds its memory steady over many messages", () => {
    for (let i = 0; i < 2_000; i++) say("context");
    expect(guest.exports.memory.buffer.byteLength).toBeLessThanOrEqual(2 << 16);
  });

  test("a call that lies outside memory is answered with an error", () => {
    const packed = BigInt.asUintN(64, guest.exports.sirsi_call(0x7fff_0000, 100));
    expect(Number(packed & 0xffff_ffffn)).toBeGreaterThan(0);
    expect(guest.callRaw(new Uint8Array()).length).toBeGreaterThan(0);
  });

  test.each([
    ["trap", /asked to trap at assembly\/index\.ts:\d+:\d+/],
    ["recurse", /./],
    ["hoard", /./],
  ])("%s ends in a trap, with the place when the code gave one", (command, message) => {
    const bounded = new Guest(new WebAssembly.Module(withMemoryMaximum(readFileSync(built.file), 64)));
    bounded.init();
    expect(() => bounded.send(command)).toThrow(message);
  });
});

describe("an agent", () => {
  test("reads its identity, parameters and the caller's context", () => {
    const result = guest.call({ case: "message", value: { message: { content: "context" }, context: { tenant: "t1" }, sourceAgentId: "agent-9" } });
    expect(result.case === "message" && result.value.response?.content).toBe("t1//agent-9/green/agent-1/session-1");
  });

  test("logs at every level, in UTF-8", () => {
    say("log");
    expect(guest.logs).toEqual([{ level: 0, text: "t" }, { level: 1, text: "d" }, { level: 2, text: "ï 𝄞" }, { level: 3, text: "w" }, { level: 4, text: "" }]);
  });

  test("reads the clock and draws lots through the host alone", () => {
    guest.nowMs = 1_234_567_890_123;
    expect(say("now")).toBe("1234567890123");
    const [bytes, real] = say("random").split(" ");
    expect(bytes!.split(",").map(Number)).toHaveLength(4);
    expect(Number(real)).toBeGreaterThanOrEqual(0);
    expect(Number(real)).toBeLessThan(1);
  });

  test("makes ids of UUID version 7 that carry the time", () => {
    guest.nowMs = 0x0190_f3c2_6b7e;
    const ids = new Set(Array.from({ length: 50 }, () => say("id")));
    expect(ids.size).toBe(50);
    for (const id of ids) expect(id).toMatch(/^0190f3c2-6b7e-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });

  test("emits events, messages and previews", () => {
    say("emit");
    say("partial");
    expect(guest.emitted.map(({ emit }) => emit)).toMatchObject([
      { case: "event", value: { eventType: "probe.done", topic: "news", payload: new TextEncoder().encode("payload"), attributes: { k: "v" } } },
      { case: "message", value: { agentId: "agent-2", message: { content: "hello", type: 1 } } },
      { case: "partial", value: { content: "half" } },
    ]);
  });

  test("sets and cancels timers of its own", () => {
    say("timers");
    expect(guest.emitted.map(({ emit }) => emit)).toMatchObject([
      { case: "timer", value: { timerId: "soon", delayMs: 250n, payload: new Uint8Array() } },
      { case: "timer", value: { timerId: "later", delayMs: 8_000_000_000n, payload: new TextEncoder().encode("for later") } },
      { case: "cancelTimer", value: { timerId: "never" } },
    ]);
  });

  test("writes documents as bytes and as text, and removes them", () => {
    say("write");
    expect(guest.emitted.map(({ emit }) => emit)).toMatchObject([
      { case: "document", value: { key: "notes/bytes.bin", content: new TextEncoder().encode("b") } },
      { case: "document", value: { key: "notes/text", content: new TextEncoder().encode("téxt") } },
      { case: "document", value: { key: "notes/empty", content: new Uint8Array() } },
      { case: "deleteDocument", value: { key: "notes/old" } },
    ]);
  });

  test("brings suggestions into the form that clients rely on", () => {
    const { suggestions } = guest.message("wild");
    expect(suggestions.map(({ confidence, priority }) => [confidence, priority])).toEqual([[1, 1], [0, 5], [0, 3]]);
    for (const suggestion of suggestions) expect(suggestion).toMatchObject({ suggestionId: expect.stringMatching(/./), type: 1, action: { actionType: expect.stringMatching(/./), command: expect.stringMatching(/./) } });
  });

  test("gives at most as many suggestions as were asked for, ten unless told", () => {
    expect(guest.suggest(3, "x").map(({ title }) => title)).toEqual(["x0", "x1", "x2"]);
    expect(guest.suggest(0)).toHaveLength(10);
  });

  test("fails with a value whose code has the right form", () => {
    expect(guest.send("fail")).toMatchObject({ case: "error", value: { code: "not_a_code_", message: "said so", retryable: true } });
    expect(guest.send("whatever")).toMatchObject({ case: "error", value: { code: "unimplemented" } });
  });

  test("reads attachments as text and attaches its own", () => {
    const answer = guest.message({ content: "files", attachments: [{ name: "in", content: { case: "data", value: new TextEncoder().encode("héllo 𝄞") } }] });
    expect(answer.response!.content).toBe("héllo 𝄞");
    expect(answer.response!.attachments).toMatchObject([{ name: "out.txt", mimeType: "text/plain", sizeBytes: 6n, content: { case: "data", value: new TextEncoder().encode("é𝄞") } }]);
    expect(answer.metrics!.performanceMetrics).toEqual({ files: 1 });
  });

  test("is told when an attachment is not UTF-8", () => {
    const text = (value: Uint8Array) => guest.message({ content: "not utf8", attachments: [{ content: { case: "data", value } }] }).response!.content;
    expect(text(Uint8Array.of(0xff))).toBe("null");
    expect(text(Uint8Array.of(0xc3, 0xa9))).toBe("text");
  });

  test("a lone surrogate leaves as U+FFFD", () => {
    expect(say("surrogate")).toBe("\ufffd");
  });

  test("hears events, timers and tasks", () => {
    expect(guest.call({ case: "event", value: { event: { eventType: "x.y", topic: "news" } } }).case).toBe("done");
    expect(guest.call({ case: "timer", value: { timerId: "t1" } }).case).toBe("done");
    expect(guest.call({ case: "timer", value: { timerId: "bad" } })).toMatchObject({ case: "error", value: { code: "bad_timer" } });
    expect(say("seen")).toBe("event x.y news;timer t1;timer bad");
    expect(guest.call({ case: "task", value: { name: "double", input: new TextEncoder().encode("ab") } })).toMatchObject({ case: "task", value: { output: new TextEncoder().encode("abab") } });
    expect(guest.call({ case: "task", value: { name: "other" } })).toMatchObject({ case: "error", value: { code: "unimplemented" } });
    expect(guest.health()).toMatchObject({ status: 2, message: "so so", details: { seen: "3" } });
  });

  test("without save and load it saves nothing, and refuses state it cannot read", () => {
    expect(guest.save()).toMatchObject({ schema: 1, state: new Uint8Array() });
    expect(guest.load(1, new Uint8Array()).case).toBe("done");
    expect(guest.load(1, Uint8Array.of(1))).toMatchObject({ case: "error", value: { code: "unimplemented" } });
  });

  test("is told of its shutdown", () => {
    expect(guest.call({ case: "shutdown", value: { reason: "deleted" } }).case).toBe("done");
    expect(guest.logs.at(-1)?.text).toBe("bye: deleted");
  });
});

describe("asking and waiting", () => {
  test("gives the answer", () => {
    const asking = new Guest(built.module, { request: () => ({ response: { case: "ask", value: { response: { content: "me" }, suggestions: [{ title: "s" }] } } }) });
    asking.init();
    expect(say("ask", asking)).toBe("me|1");
    expect(asking.requests).toMatchObject([{ timeoutMs: 250, request: { case: "ask", value: { agentId: "agent-2", message: { content: "who?", type: 3 } } } }]);
  });

  test("gives the error as a value", () => {
    const asking = new Guest(built.module, { request: () => ({ response: { case: "error", value: { code: "interrupted", message: "again", retryable: true } } }) });
    asking.init();
    expect(say("ask", asking)).toBe("interrupted|again|true|");
  });

  test("an answer of another kind is an error", () => {
    const asking = new Guest(built.module, { request: () => ({ response: { case: "sleep", value: {} } }) });
    asking.init();
    expect(say("ask", asking)).toMatch(/^internal\|/);
    expect(say("sleep", asking)).toBe("slept");
    expect(asking.requests.at(-1)).toMatchObject({ request: { case: "sleep", value: { durationMs: 5n } } });
  });
});

describe("documents", () => {
  const reading = (response: Exclude<ResponseInput, { $typeName: string }>["response"]) => {
    const reader = new Guest(built.module, { request: () => ({ response: response! }) });
    reader.init();
    return reader;
  };

  test("are read with their version", () => {
    const reader = reading({ case: "getDocument", value: { found: true, version: 9_007_199_254_740_993n, content: new TextEncoder().encode("é𝄞") } });
    expect(say("read notes/a", reader)).toBe("true|true|9007199254740993|é𝄞");
    expect(reader.requests).toMatchObject([{ timeoutMs: 0, request: { case: "getDocument", value: { key: "notes/a" } } }]);
    expect(say("read notes/b", reading({ case: "getDocument", value: { found: true, version: 1n, content: Uint8Array.of(0xff) } }))).toBe("true|true|1|not text");
  });

  test("that are not there are no error", () => {
    expect(say("read notes/a", reading({ case: "getDocument", value: { found: false } }))).toBe("true|false|0|");
  });

  test("are listed by key, a page at a time", () => {
    const reader = reading({ case: "listDocuments", value: { keys: ["notes/b", "notes/c"] } });
    expect(say("list notes/", reader)).toBe("notes/b,notes/c");
    expect(reader.requests).toMatchObject([{ request: { case: "listDocuments", value: { prefix: "notes/", after: "notes/a", limit: 3 } } }]);
    expect(say("list notes/", reading({ case: "listDocuments", value: {} }))).toBe("");
  });

  test("that the host refuses, or answers with something else, are an error", () => {
    const refusing = reading({ case: "error", value: { code: "capability_denied", message: "no" } });
    expect(say("read a", refusing)).toBe("false|false|capability_denied|0");
    expect(say("list a", refusing)).toBe("false|capability_denied|0");
    const confused = reading({ case: "sleep", value: {} });
    expect(say("read a", confused)).toBe("false|false|internal|0");
    expect(say("list a", confused)).toBe("false|internal|0");
  });
});
