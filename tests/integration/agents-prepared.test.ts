/** The project's agents as the host runs them: admitted, metered and able to wait. */
import { readFileSync } from "node:fs";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { beforeAll, describe, expect, test } from "vitest";
import { GuestCallSchema, GuestRequestSchema, GuestResponseSchema, GuestResultSchema } from "../../runtime/contract/gen/sirsi/agent/v1/guest_pb.ts";
import type { StepBudget, StepOutcome } from "../../runtime/sandbox/outcomes.ts";
import { BUILD_TIMEOUT_MS, builtAgent } from "../support/built-agents.ts";
import { BUDGET, expectOutcome, played } from "../support/instances.ts";
import type { Played, PlayedInstance } from "../support/instances.ts";

const NAMES = ["aws", "counter", "echo", "relay"] as const;
const agents = new Map<string, Played>();

beforeAll(async () => {
  for (const name of NAMES) agents.set(name, played(readFileSync((await builtAgent(name)).file)));
}, BUILD_TIMEOUT_MS);

type CallInput = MessageInitShape<typeof GuestCallSchema>["call"];
const call = (input: NonNullable<CallInput>) => toBinary(GuestCallSchema, create(GuestCallSchema, { call: input }));
const text = (content: string, metadata: Record<string, string> = {}) => call({ case: "message", value: { message: { content, metadata } } });

function opened(name: string): PlayedInstance {
  const instance = agents.get(name)!.open();
  expectOutcome(instance.step(call({ case: "init", value: { agentId: "a1", sessionId: "s1" } }), BUDGET), "done");
  return instance;
}

function answer(outcome: StepOutcome): string {
  const { result } = fromBinary(GuestResultSchema, expectOutcome(outcome, "done").result);
  return result.case === "message" ? result.value.response!.content : `${result.case}`;
}

/** The same agent in another instance, from its checkpoint alone. */
function movedOn(name: string, instance: PlayedInstance): PlayedInstance {
  const other = agents.get(name)!.open();
  other.restore(instance.base());
  return other;
}

test.each(NAMES)("%s is admitted, waits only if it asks, and answers", (name) => {
  const { revision } = agents.get(name)!;
  expect(revision.manifest.name).toBe(name);
  expect(revision.canWait).toBe(name === "relay");
  const outcome = opened(name).step(text("hello"), BUDGET);
  expect(fromBinary(GuestResultSchema, expectOutcome(outcome, "done").result).result.case).toBe(name === "echo" ? "message" : "error");
});

test("the counter goes on from its checkpoint in another instance", () => {
  const first = opened("counter");
  answer(first.step(text("add 41"), BUDGET));
  expect(answer(movedOn("counter", first).step(text("increment"), BUDGET))).toBe("42");
});

test("a message changes little of an agent's memory, however many came before", () => {
  const instance = opened("counter");
  const sizes: number[] = [];
  for (let i = 0; i < 500; i++) {
    expectOutcome(instance.step(text("increment"), BUDGET), "done");
    sizes.push(instance.base().length);
  }
  expect(Math.max(...sizes)).toBeLessThan(16 * 1024);
});

describe("relay", () => {
  const asked = (content: string) => toBinary(GuestResponseSchema, create(GuestResponseSchema, { response: { case: "ask", value: { response: { content } } } }));
  const rounds = 20;
  const answers = Array.from({ length: rounds }, (_, i) => `answer ${i}`).join("\n");

  test("waits at every turn of a loop and ends with every answer", () => {
    const instance = opened("relay");
    let outcome = instance.step(text(`fanout ${rounds} hi`, { target: "b" }), BUDGET);
    for (let i = 0; i < rounds; i++) {
      const { request } = fromBinary(GuestRequestSchema, expectOutcome(outcome, "waiting").request);
      expect(request).toMatchObject({ case: "ask", value: { agentId: "b", message: { content: "hi" } } });
      outcome = instance.resume(asked(`answer ${i}`), 1_000);
    }
    expect(answer(outcome)).toBe(answers);
    expect(answer(instance.step(text("x"), BUDGET))).toBe("error");
  });

  test("D4 goes on in a new instance at every wait, from base, differences and the wait alone", () => {
    const { open } = agents.get("relay")!;
    const budget: StepBudget = { ...BUDGET, state: "difference", stateAtWait: true };
    const rest: Uint8Array[] = [];
    let instance = open();
    rest.push(expectOutcome(instance.step(call({ case: "init", value: { agentId: "a1" } }), { ...budget, state: "base" }), "done").state!.image);
    for (let step = 0; step < 3; step++) {
      let outcome = instance.step(text(`fanout ${rounds} hi`, { target: "b" }), budget);
      let left = BUDGET.fuel;
      for (let i = 0; i < rounds; i++) {
        const waiting = expectOutcome(outcome, "waiting");
        expect(waiting.fuelLeft).toBeLessThanOrEqual(left);
        left = waiting.fuelLeft;
        instance = open();
        instance.restore(...rest, waiting.state!);
        expect(instance.state).toBe("suspended");
        outcome = instance.resume(asked(`answer ${i}`), { ...budget, fuel: left });
      }
      expect(answer(outcome)).toBe(answers);
      const { state, fuelUsed } = expectOutcome(outcome, "done");
      expect(fuelUsed).toBeGreaterThanOrEqual(BUDGET.fuel - left);
      rest.push(state!.image);
    }
    const fresh = open();
    fresh.restore(...rest);
    expect(fresh.base()).toEqual(instance.base());
  });
});
