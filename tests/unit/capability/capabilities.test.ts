import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { type Asker, type AskTarget, openCapabilities } from "../../../runtime/capability/index.ts";
import { GuestRequestSchema, type GuestResponse, GuestResponseSchema, MessageResultSchema } from "../../../runtime/contract/gen/sirsi/agent/v1/guest_pb.ts";
import { ManualClock } from "../../../runtime/core/clock.ts";
import { SirsiError } from "../../../runtime/core/errors.ts";
import { MemoryStore } from "../../support/memory-store.ts";

const ASKER: Asker = { agentId: "a", sessionId: "s", grants: ["ask", "sleep"], deadline: 1_000, signal: new AbortController().signal, idempotencyKey: "m.1", traceparent: "", waitedMs: 0, writes: null };

type RequestShape = Extract<MessageInitShape<typeof GuestRequestSchema>, { $typeName?: never }>;

function bench() {
  const clock = new ManualClock();
  const asked: { target: AskTarget; asker: Asker }[] = [];
  const documents = new MemoryStore();
  let refuseWith: SirsiError | null = null;
  const capabilities = openCapabilities({
    clock,
    documents,
    ask: (target, asker) => {
      asked.push({ target, asker });
      return refuseWith === null ? Promise.resolve(create(MessageResultSchema, { response: { content: "yes" } })) : Promise.reject(refuseWith);
    },
  });
  const perform = async (request: RequestShape, changes: Partial<Asker> = {}): Promise<GuestResponse["response"]> => {
    const bytes = await capabilities.perform(toBinary(GuestRequestSchema, create(GuestRequestSchema, request)), { ...ASKER, ...changes });
    return fromBinary(GuestResponseSchema, bytes).response;
  };
  return { clock, asked, documents, capabilities, perform, refuse: (error: SirsiError) => void (refuseWith = error) };
}

const sleep = (durationMs: bigint, timeoutMs = 0): RequestShape => ({ request: { case: "sleep", value: { durationMs } }, timeoutMs });
const ask = (timeoutMs = 0): RequestShape => ({ request: { case: "ask", value: { agentId: "b", message: { content: "well?" } } }, timeoutMs });

describe("a request of a guest", () => {
  test("without the grant is refused as a value, and nothing is done", async () => {
    const { perform, asked } = bench();
    for (const request of [ask(), sleep(0n)]) {
      expect(await perform(request, { grants: [] })).toMatchObject({ case: "error", value: { code: "capability_denied", retryable: false } });
    }
    expect(await perform(ask(), { grants: ["sleep"] })).toMatchObject({ case: "error", value: { details: { capability: "ask" } } });
    expect(asked).toEqual([]);
  });

  test("for something this host does not know is refused as a value", async () => {
    expect(await bench().perform({})).toMatchObject({ case: "error", value: { code: "capability_denied" } });
  });

  test("that is no GuestRequest is refused as a value", async () => {
    const bytes = await bench().capabilities.perform(Uint8Array.of(0xff, 0xff), ASKER);
    expect(fromBinary(GuestResponseSchema, bytes).response).toMatchObject({ case: "error", value: { code: "guest_protocol" } });
  });
});

describe("ask", () => {
  test("gives the other agent's answer", async () => {
    const { perform, asked } = bench();
    expect(await perform(ask())).toMatchObject({ case: "ask", value: { response: { content: "yes" } } });
    expect(asked[0]?.target).toMatchObject({ agentId: "b", message: { content: "well?" }, deadline: 1_000 });
    expect(asked[0]?.asker.idempotencyKey).toBe("m.1");
  });

  test("waits as long as it says, and never longer than the step", async () => {
    const { perform, asked, clock } = bench();
    clock.advance(100);
    await perform(ask(50));
    await perform(ask(5_000));
    await perform(ask(-1));
    expect(asked.map(({ target }) => target.deadline)).toEqual([150, 1_000, 1_000]);
  });

  test("without a message is refused, and a refusal of the other side is a value", async () => {
    const { perform, refuse } = bench();
    expect(await perform({ request: { case: "ask", value: { agentId: "b" } } })).toMatchObject({ case: "error", value: { code: "invalid_argument" } });
    refuse(new SirsiError("ASK_CYCLE", "a circle"));
    expect(await perform(ask())).toMatchObject({ case: "error", value: { code: "ask_cycle", message: "a circle" } });
  });
});

describe("sleep", () => {
  test("answers when the time has passed and not before", async () => {
    const { perform, clock } = bench();
    let answer: GuestResponse["response"] | null = null;
    const slept = perform(sleep(300n)).then((response) => (answer = response));
    clock.advance(299);
    await Promise.resolve();
    expect(answer).toBeNull();
    clock.advance(1);
    expect((await slept).case).toBe("sleep");
  });

  test.each([
    ["would end after the step", sleep(1_001n), "deadline_exceeded"],
    ["would end after its own timeout", sleep(20n, 10), "deadline_exceeded"],
    ["lasts for ever", sleep(2n ** 62n), "deadline_exceeded"],
    ["has a negative length", sleep(-1n), "invalid_argument"],
  ])("that %s is refused at once", async (_what, request, code) => {
    expect(await bench().perform(request)).toMatchObject({ case: "error", value: { code } });
  });

  test("ends when the step is given up, and when it was given up before", async () => {
    const { perform } = bench();
    const during = new AbortController();
    const slept = perform(sleep(300n), { signal: during.signal });
    during.abort();
    expect(await slept).toMatchObject({ case: "error", value: { code: "cancelled" } });
    expect(await perform(sleep(300n), { signal: AbortSignal.abort() })).toMatchObject({ case: "error", value: { code: "cancelled" } });
  });
});

describe("a request that was under way when the host stopped", () => {
  test("sleeps on to its original end, and no longer when that has passed", async () => {
    const { perform, clock } = bench();
    const answer = perform(sleep(900n), { waitedMs: 600 });
    clock.advance(299);
    expect(await Promise.race([answer, Promise.resolve("asleep")])).toBe("asleep");
    clock.advance(1);
    expect(await answer).toMatchObject({ case: "sleep" });
    expect(await perform(sleep(900n), { waitedMs: 5_000, deadline: -1 })).toMatchObject({ case: "sleep" });
  });

  test("asks only while there is time, the time before the stop counted", async () => {
    const { perform, asked } = bench();
    expect(await perform(ask(500), { waitedMs: 400 })).toMatchObject({ case: "ask" });
    expect(asked.map(({ target }) => target.deadline)).toEqual([100]);
    expect(await perform(ask(500), { waitedMs: 500 })).toMatchObject({ case: "error", value: { code: "deadline_exceeded" } });
    expect(await perform(ask(), { waitedMs: 1, deadline: 0 })).toMatchObject({ case: "error", value: { code: "deadline_exceeded" } });
    expect(asked.length).toBe(1);
  });

  test("may be made again, and none but those that read may be left out of a commit", () => {
    const traits = (request: RequestShape) => bench().capabilities.traitsOf(toBinary(GuestRequestSchema, create(GuestRequestSchema, request)));
    expect([traits(ask()), traits(sleep(1n))]).toEqual([{ repeatable: true, reading: false }, { repeatable: true, reading: false }]);
    expect([traits({ request: { case: "getDocument", value: {} } }), traits({ request: { case: "listDocuments", value: {} } }), traits({})]).toEqual(Array.from({ length: 3 }, () => ({ repeatable: true, reading: true })));
    expect(bench().capabilities.traitsOf(Uint8Array.of(0xff))).toEqual({ repeatable: true, reading: true });
  });
});

describe("documents", () => {
  const GRANTED = { grants: ["documents"] } as const;
  const get = (key: string): RequestShape => ({ request: { case: "getDocument", value: { key } } });
  const list = (prefix: string, after = "", limit = 0): RequestShape => ({ request: { case: "listDocuments", value: { prefix, after, limit } } });
  const keysOf = (response: GuestResponse["response"]) => (response.case === "listDocuments" ? response.value.keys : response);

  async function filled() {
    const made = bench();
    for (const key of ["a/1", "a/2", "a/3", "b"]) made.documents.documents.set(`s/${key}`, { sessionId: "s", key, version: 4, bytes: Uint8Array.of(9), updatedAt: 0, agentId: "x" });
    made.documents.documents.set("other/a/0", { sessionId: "other", key: "a/0", version: 1, bytes: Uint8Array.of(1), updatedAt: 0, agentId: "x" });
    return made;
  }

  test("are those of the session, as the store has them, under the grant alone", async () => {
    const { perform } = await filled();
    expect(await perform(get("b"))).toMatchObject({ case: "error", value: { code: "capability_denied" } });
    expect(await perform(list(""))).toMatchObject({ case: "error", value: { code: "capability_denied" } });
    expect(await perform(get("b"), GRANTED)).toMatchObject({ case: "getDocument", value: { found: true, version: 4n, content: Uint8Array.of(9) } });
    expect(await perform(get("a/0"), GRANTED)).toMatchObject({ case: "getDocument", value: { found: false, version: 0n } });
    expect(keysOf(await perform(list("a/"), GRANTED))).toEqual(["a/1", "a/2", "a/3"]);
    expect(keysOf(await perform(list("", "a/2", 1), GRANTED))).toEqual(["a/3"]);
  });

  test("have the step's own writes laid over", async () => {
    const { perform } = await filled();
    const writes = new Map<string, Uint8Array | null>([["a/2", null], ["a/25", Uint8Array.of(1, 2)], ["z", Uint8Array.of(3)], ["b", Uint8Array.of(5)]]);
    const asker = { ...GRANTED, writes };
    expect(await perform(get("a/2"), asker)).toMatchObject({ value: { found: false } });
    expect(await perform(get("b"), asker)).toMatchObject({ value: { found: true, version: 0n, content: Uint8Array.of(5) } });
    expect(keysOf(await perform(list(""), asker))).toEqual(["a/1", "a/25", "a/3", "b", "z"]);
    expect(keysOf(await perform(list("a/", "", 2), asker))).toEqual(["a/1", "a/25"]);
    expect(keysOf(await perform(list("a/", "a/1", 2), asker))).toEqual(["a/25", "a/3"]);
    expect(keysOf(await perform(list("", "b"), asker))).toEqual(["z"]);
  });

  test("with keys that are none, or lists out of range, are refused as values", async () => {
    const { perform } = bench();
    for (const request of [get(""), get("a b"), get("/a"), get("a".repeat(513)), list("a b"), list("", "a*"), list("", "", -1), list("", "", 1_001)]) {
      expect(await perform(request, GRANTED)).toMatchObject({ case: "error", value: { code: "invalid_argument" } });
    }
  });
});
