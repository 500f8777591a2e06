import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { type Asker, type AskTarget, openCapabilities } from "../../../runtime/capability/index.ts";
import { GuestRequestSchema, type GuestResponse, GuestResponseSchema, MessageResultSchema } from "../../../runtime/contract/gen/sirsi/agent/v1/guest_pb.ts";
import { ManualClock } from "../../../runtime/core/clock.ts";
import { SirsiError } from "../../../runtime/core/errors.ts";

const ASKER: Asker = { agentId: "a", sessionId: "s", grants: ["ask", "sleep"], deadline: 1_000, signal: new AbortController().signal, idempotencyKey: "m.1", traceparent: "" };

type RequestShape = Extract<MessageInitShape<typeof GuestRequestSchema>, { $typeName?: never }>;

function bench() {
  const clock = new ManualClock();
  const asked: { target: AskTarget; asker: Asker }[] = [];
  let refuseWith: SirsiError | null = null;
  const capabilities = openCapabilities({
    clock,
    ask: (target, asker) => {
      asked.push({ target, asker });
      return refuseWith === null ? Promise.resolve(create(MessageResultSchema, { response: { content: "yes" } })) : Promise.reject(refuseWith);
    },
  });
  const perform = async (request: RequestShape, changes: Partial<Asker> = {}): Promise<GuestResponse["response"]> => {
    const bytes = await capabilities.perform(toBinary(GuestRequestSchema, create(GuestRequestSchema, request)), { ...ASKER, ...changes });
    return fromBinary(GuestResponseSchema, bytes).response;
  };
  return { clock, asked, capabilities, perform, refuse: (error: SirsiError) => void (refuseWith = error) };
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
