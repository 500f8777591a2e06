/** The project's agents as the host runs them: admitted, metered and able to wait. */
import { readFileSync } from "node:fs";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { beforeAll, describe, expect, test } from "vitest";
import { PREPARED, SUSPEND_BUFFER_BYTES } from "../../runtime/contract/guest-abi.ts";
import { GuestCallSchema, GuestRequestSchema, GuestResponseSchema, GuestResultSchema } from "../../runtime/contract/gen/sirsi/agent/v1/guest_pb.ts";
import type { GuestInstance, StepOutcome } from "../../runtime/sandbox/instance.ts";
import { BUILD_TIMEOUT_MS, builtAgent } from "../support/built-agents.ts";
import { BUDGET, expectOutcome, played } from "../support/instances.ts";
import type { Played } from "../support/instances.ts";

const NAMES = ["aws", "counter", "echo", "relay"] as const;
const agents = new Map<string, Played>();

beforeAll(async () => {
  for (const name of NAMES) agents.set(name, played(readFileSync((await builtAgent(name)).file)));
}, BUILD_TIMEOUT_MS);

type CallInput = MessageInitShape<typeof GuestCallSchema>["call"];
const call = (input: NonNullable<CallInput>) => toBinary(GuestCallSchema, create(GuestCallSchema, { call: input }));
const text = (content: string, metadata: Record<string, string> = {}) => call({ case: "message", value: { message: { content, metadata } } });

function opened(name: string): GuestInstance {
  const instance = agents.get(name)!.open();
  expectOutcome(instance.step(call({ case: "init", value: { agentId: "a1", sessionId: "s1" } }), BUDGET), "done");
  return instance;
}

function answer(outcome: StepOutcome): string {
  const { result } = fromBinary(GuestResultSchema, expectOutcome(outcome, "done").result);
  return result.case === "message" ? result.value.response!.content : `${result.case}`;
}

/** The same agent in another instance, from its checkpoint alone. */
function movedOn(name: string, instance: GuestInstance): GuestInstance {
  const other = agents.get(name)!.open();
  other.restore(instance.checkpoint());
  return other;
}

interface PreparedExports {
  readonly memory: WebAssembly.Memory;
  readonly sirsi_alloc: (length: number) => number;
  readonly sirsi_call: (ptr: number, length: number) => bigint;
  readonly asyncify_start_unwind: (at: number) => void;
  readonly asyncify_stop_unwind: () => void;
  readonly asyncify_start_rewind: (at: number) => void;
  readonly asyncify_stop_rewind: () => void;
}

/** A prepared module on its own, so that its waiting state can be taken from one instance to another. */
class WaitingGuest {
  readonly #exports: PreparedExports & Record<string, WebAssembly.Global>;
  #room = 0;
  #response: bigint | null = null;
  waits = false;
  result = new Uint8Array();

  constructor(module: WebAssembly.Module) {
    const nothing = () => 0n;
    const imports = {
      env: { abort: () => expect.unreachable("the guest aborted") },
      sirsi: { log: nothing, now: nothing, random: nothing, emit: () => undefined, request: () => this.#request() },
      [PREPARED.importModule]: { [PREPARED.refill]: () => 1_000_000_000, [PREPARED.refused]: () => undefined },
    };
    this.#exports = new WebAssembly.Instance(module, imports).exports as never;
  }

  #request(): bigint {
    if (this.#response !== null) {
      const response = this.#response;
      this.#response = null;
      this.#exports.asyncify_stop_rewind();
      return response;
    }
    if (this.#room === 0) this.#room = this.#exports.sirsi_alloc(SUSPEND_BUFFER_BYTES);
    new DataView(this.#exports.memory.buffer).setUint32(this.#room, this.#room + 8, true);
    new DataView(this.#exports.memory.buffer).setUint32(this.#room + 4, this.#room + SUSPEND_BUFFER_BYTES, true);
    this.waits = true;
    this.#exports.asyncify_start_unwind(this.#room);
    return 0n;
  }

  #place(bytes: Uint8Array): number {
    const ptr = this.#exports.sirsi_alloc(bytes.length);
    new Uint8Array(this.#exports.memory.buffer, ptr).set(bytes);
    return ptr;
  }

  #run(ptr: number, length: number): void {
    this.waits = false;
    const packed = BigInt.asUintN(64, this.#exports.sirsi_call(ptr, length));
    if (this.waits) this.#exports.asyncify_stop_unwind();
    else this.result = new Uint8Array(this.#exports.memory.buffer, Number(packed >> 32n), Number(packed & 0xffff_ffffn)).slice();
  }

  begin(bytes: Uint8Array): void {
    this.#run(this.#place(bytes), bytes.length);
  }

  go(response: Uint8Array): void {
    this.#response = (BigInt(this.#place(response)) << 32n) | BigInt(response.length);
    this.#exports.asyncify_start_rewind(this.#room);
    this.#run(0, 0);
  }

  movedTo(other: WaitingGuest, globals: readonly string[]): WaitingGuest {
    const from = this.#exports.memory.buffer;
    other.#exports.memory.grow((from.byteLength - other.#exports.memory.buffer.byteLength) / 65_536);
    new Uint8Array(other.#exports.memory.buffer).set(new Uint8Array(from));
    for (const name of globals) other.#exports[name]!.value = this.#exports[name]!.value;
    other.#room = this.#room;
    other.waits = true;
    return other;
  }
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
    sizes.push(instance.checkpoint().length);
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

  test("nothing of a waiting step lives outside memory and globals: it goes on in a new instance at every wait", () => {
    const { compiled, globals } = agents.get("relay")!.revision;
    let guest = new WaitingGuest(compiled);
    guest.begin(call({ case: "init", value: { agentId: "a1" } }));
    guest.begin(text(`fanout ${rounds} hi`, { target: "b" }));
    for (let i = 0; i < rounds; i++) {
      expect(guest.waits).toBe(true);
      guest = guest.movedTo(new WaitingGuest(compiled), globals.map(({ name }) => name));
      guest.go(asked(`answer ${i}`));
    }
    const { result } = fromBinary(GuestResultSchema, guest.result);
    expect(result.case === "message" && result.value.response!.content).toBe(answers);
  });
});
