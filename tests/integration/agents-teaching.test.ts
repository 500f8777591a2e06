/** The small agents echo, counter and relay, as modules alone. */
import { beforeAll, describe, expect, test } from "vitest";
import { BUILD_TIMEOUT_MS, builtAgent } from "../support/built-agents.ts";
import { Guest } from "../support/guest.ts";
import type { GuestOptions, ResponseInput } from "../support/guest.ts";

const modules = new Map<string, WebAssembly.Module>();

beforeAll(async () => {
  for (const name of ["echo", "counter", "relay"]) modules.set(name, (await builtAgent(name)).module);
}, BUILD_TIMEOUT_MS);

function agent(name: string, options: GuestOptions = {}, parameters: Record<string, string> = {}): Guest {
  const guest = new Guest(modules.get(name)!, options);
  guest.init({ config: { parameters } });
  return guest;
}

test.each(["echo", "counter", "relay"])("%s has suggestions that can be acted on, and is healthy", (name) => {
  const guest = agent(name);
  const suggestions = guest.suggest();
  expect(suggestions.length).toBeGreaterThan(0);
  for (const { title, confidence, priority, action } of suggestions) {
    expect(title).not.toBe("");
    expect(confidence).toBeGreaterThan(0);
    expect(confidence).toBeLessThanOrEqual(1);
    expect(priority).toBeGreaterThanOrEqual(1);
    expect(priority).toBeLessThanOrEqual(5);
    // Each is a message to the agent itself: it must answer it.
    if (action!.actionType === "message") expect(guest.send(action!.command).case).toBe(name === "relay" ? "error" : "message");
  }
  expect(guest.health().status).toBe(1);
});

describe("echo", () => {
  test("says back content, metadata and attachments", () => {
    const attachments = [{ attachmentId: "a", name: "x.bin", mimeType: "application/octet-stream", sizeBytes: 3n, content: { case: "data" as const, value: Uint8Array.of(1, 2, 3) } }, { name: "link", content: { case: "url" as const, value: "https://example.org/" } }];
    const answer = agent("echo").message({ messageId: "m1", type: 1, content: "héllo 𝄞", metadata: { k: "v", é: "" }, attachments });
    expect(answer.response).toMatchObject({ type: 4, content: "héllo 𝄞", metadata: { k: "v", é: "" }, attachments });
  });

  test("says back a megabyte", () => {
    const content = "0123456789abcdef".repeat(65_536);
    expect(agent("echo").message({ content }).response!.content).toBe(content);
  });

  test("keeps nothing", () => {
    expect(agent("echo").save().state).toEqual(new Uint8Array());
  });
});

describe("counter", () => {
  const say = (guest: Guest, content: string) => guest.message(content).response!.content;

  test("counts, adds, forgets, and starts where it is told", () => {
    const guest = agent("counter", {}, { start: "40" });
    expect(say(guest, "increment")).toBe("41");
    expect(say(guest, " add 5 ")).toBe("46");
    expect(say(guest, "add -6")).toBe("40");
    expect(guest.message("get").response).toMatchObject({ content: "40", metadata: { count: "40" } });
    expect(say(guest, "history")).toBe("increment\nadd 5\nadd -6");
    expect(say(guest, "reset")).toBe("0");
  });

  test.each(["", "add", "add x", "add 1.5", "add 1234567890123456789", "add -", "subtract 1"])("%j is refused as a value, and changes nothing", (command) => {
    const guest = agent("counter");
    expect(guest.send(command)).toMatchObject({ case: "error", value: { code: "invalid_argument" } });
    expect(say(guest, "get")).toBe("0");
  });

  test("a start that is no number fails the first call", () => {
    const guest = new Guest(modules.get("counter")!);
    expect(guest.call({ case: "init", value: { config: { parameters: { start: "many" } } } })).toMatchObject({ case: "error", value: { code: "invalid_argument" } });
  });

  test("refuses to leave 64 bits instead of wrapping", () => {
    const guest = agent("counter");
    const saved = new TextEncoder().encode("9223372036854775807");
    expect(guest.load(1, saved).case).toBe("done");
    expect(guest.send("increment")).toMatchObject({ case: "error", value: { code: "failed_precondition" } });
    expect(say(guest, "get")).toBe("9223372036854775807");
  });

  test("its state goes to another instance by save and load", () => {
    const first = agent("counter");
    for (let i = 0; i < 25; i++) say(first, `add ${i}`);
    const saved = first.save();
    expect(saved.schema).toBe(1);
    const second = agent("counter");
    expect(second.load(saved.schema, saved.state).case).toBe("done");
    expect(say(second, "get")).toBe("300");
    expect(say(second, "history").split("\n")).toHaveLength(20);
    expect(second.save().state).toEqual(saved.state);
  });

  test.each([
    ["another schema", 2, "1"],
    ["no count", 1, "x"],
    ["a count beyond 64 bits", 1, "92233720368547758080"],
    ["nothing", 1, ""],
  ])("refuses to load %s", (_what, schema, state) => {
    expect(agent("counter").load(schema, new TextEncoder().encode(state)).case).toBe("error");
  });
});

describe("relay", () => {
  const answering: GuestOptions = {
    request: ({ request }): ResponseInput => {
      if (request.case !== "ask") return { response: { case: "sleep", value: {} } };
      const { agentId, message } = request.value;
      if (agentId === "gone") return { response: { case: "error", value: { code: "not_found", message: "no such agent", retryable: false } } };
      return { response: { case: "ask", value: { response: { content: `${agentId} heard ${message!.content}`, metadata: message!.metadata } } } };
    },
  };

  test("passes a message on and returns the answer", () => {
    const guest = agent("relay", answering);
    const answer = guest.message({ type: 3, content: "hi", metadata: { target: "b", timeout_ms: "50", k: "v" }, attachments: [{ name: "f", content: { case: "data", value: Uint8Array.of(7) } }] });
    expect(answer.response).toMatchObject({ type: 4, content: "b heard hi", metadata: { k: "v", relayed_from: "b" } });
    expect(guest.requests).toMatchObject([{ timeoutMs: 50, request: { value: { agentId: "b", message: { type: 3, metadata: { k: "v" }, attachments: [{ name: "f" }] } } } }]);
    expect(guest.requests[0]!.request.value).not.toHaveProperty("message.metadata.target");
  });

  test("asks the target of its configuration when the message names none", () => {
    expect(agent("relay", answering, { target: "c" }).message("x").response!.content).toBe("c heard x");
  });

  test("hands on the error of the agent it asked", () => {
    expect(agent("relay", answering).send({ content: "x", metadata: { target: "gone" } })).toMatchObject({ case: "error", value: { code: "not_found", message: "no such agent" } });
  });

  test("asks several agents in turn, waiting each time, and shows how far it is", () => {
    const guest = agent("relay", answering);
    const answer = guest.message({ content: "fanout 5 good day", metadata: { target: "a, gone" } });
    expect(answer.response!.content.split("\n")).toEqual(["a heard good day", "error not_found: no such agent", "a heard good day", "error not_found: no such agent", "a heard good day"]);
    expect(answer.response!.metadata).toEqual({ asked: "5", failed: "2" });
    expect(guest.requests).toHaveLength(5);
    expect(guest.emitted.map(({ emit }) => emit.value)).toMatchObject([{ content: "1 of 5" }, { content: "2 of 5" }, { content: "3 of 5" }, { content: "4 of 5" }, { content: "5 of 5" }]);
  });

  test("sleeps", () => {
    const guest = agent("relay", answering);
    expect(guest.message("sleep 250").response!.content).toBe("slept 250 ms");
    expect(guest.requests[0]!.request).toMatchObject({ case: "sleep", value: { durationMs: 250n } });
  });

  test.each(["sleep", "sleep x", "sleep 99999999", "hello"])("%j without a target is refused", (content) => {
    expect(agent("relay", answering).send(content)).toMatchObject({ case: "error", value: { code: "invalid_argument" } });
  });

  test.each(["fanout", "fanout 0 x", "fanout 1001 x", "fanout x y"])("%j is refused", (content) => {
    expect(agent("relay", answering).send({ content, metadata: { target: "a" } })).toMatchObject({ case: "error", value: { code: "invalid_argument" } });
  });

  test("remembers whom it asked, across save and load", () => {
    const guest = agent("relay", answering);
    guest.message({ content: "x", metadata: { target: "b" } });
    guest.send({ content: "x", metadata: { target: "gone" } });
    guest.send({ content: "x", metadata: { target: "gone" } });
    const saved = guest.save();
    const other = agent("relay", answering);
    expect(other.load(saved.schema, saved.state).case).toBe("done");
    expect(other.health()).toMatchObject({ status: 2, details: { relayed: "1", failed: "2" } });
    expect(other.suggest()[0]!.action!.parameters).toEqual({ target: "gone" });
    expect(other.load(1, new TextEncoder().encode("1\n2")).case).toBe("error");
  });
});
