/**
 * What preparation (fuel counting, and asyncify where the guest can wait) adds to a guest's
 * own work: the same module prepared and as it was built, the same calls, the same driver.
 * Turns are shorter than the system's time slices and many, so that the median turn was
 * not interrupted.
 */
import { readFileSync } from "node:fs";
import { encodeGuestCall, encodeGuestResponse, encodeMessageCall } from "../../runtime/contract/guest-codec.ts";
import { systemClock } from "../../runtime/core/clock.ts";
import { AttachmentSchema } from "../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { create } from "@bufbuild/protobuf";
import { builtAgent } from "../support/built-agents.ts";
import { revisionOf } from "../support/revisions.ts";
import { guestModule } from "../support/wat.ts";
import type { Figure } from "./figure.ts";
import { GuestDriver } from "./guest-driver.ts";
import { benchMessage, contentOf } from "./messages.ts";
import { ratioOf, readingOf } from "./rounds.ts";
import { type Plan, requireRight, type Section } from "./section.ts";

const AT_MOST = 1.35;
const TURN_MS = 0.5;
const TURNS_A_ROUND = 60;
const WARM_UP_MS = 300;
const LOOP_TURNS = 100_000;
const ID = "0190f3c2-6b7e-7c31-8a51-3f0d5f0a9c11";

interface Subject {
  readonly what: string;
  readonly built: Uint8Array;
  /** One call, over and over. */
  readonly call: Uint8Array;
  readonly judged: boolean;
}

function answerOfAsk(content: string): Uint8Array {
  return encodeGuestResponse({ case: "ask", value: { $typeName: "sirsi.agent.v1.MessageResult", response: benchMessage("asked", content), suggestions: [] } });
}

async function builtBytes(folder: string): Promise<Uint8Array> {
  return readFileSync((await builtAgent(folder)).file);
}

async function subjects(plan: Plan): Promise<Subject[]> {
  const content = contentOf(plan.seed);
  const relayed = benchMessage(ID, content);
  relayed.metadata["target"] = ID;
  const state = benchMessage(ID, "");
  state.attachments.push(create(AttachmentSchema, { name: "terraform.tfstate", mimeType: "application/json", content: { case: "data", value: readFileSync(new URL("../fixtures/terraform/aws-state.json", import.meta.url)) } }));
  const loop = guestModule({}, { call: `(local.set $a (i32.const ${LOOP_TURNS})) (loop $l (local.set $b (i32.mul (i32.add (local.get $b) (local.get $a)) (i32.const 31))) (br_if $l (local.tee $a (i32.sub (local.get $a) (i32.const 1))))) (i32.store (i32.const 64) (local.get $b)) (call $free (local.get $ptr)) (i64.const 0x1000000002)` });
  const all: Subject[] = [
    { what: "echo: a message", built: await builtBytes("echo"), call: encodeMessageCall(benchMessage(ID, content), {}, ""), judged: true },
    { what: "counter: increment", built: await builtBytes("counter"), call: encodeMessageCall(benchMessage(ID, "increment"), {}, ""), judged: true },
    { what: "relay: a message passed on (the wait answered at once)", built: await builtBytes("relay"), call: encodeMessageCall(relayed, {}, ""), judged: true },
    { what: "aws: a Terraform state read and judged", built: await builtBytes("aws"), call: encodeMessageCall(state, {}, ""), judged: false },
    { what: `the worst case: a loop of ${LOOP_TURNS.toLocaleString("en-US")} turns that does next to nothing`, built: loop, call: encodeGuestCall({ case: "health", value: { $typeName: "sirsi.agent.v1.HealthCall" } }), judged: false },
  ];
  return plan.quick ? all.filter(({ judged }) => judged) : all;
}

/** Milliseconds of `times` calls. */
function turn(driver: GuestDriver, call: Uint8Array, times: number): number {
  const started = systemClock.monotonic();
  for (let i = 0; i < times; i++) driver.run(call);
  return systemClock.monotonic() - started;
}

/** Lets the compiler do its best, and finds how many calls make a turn. */
function warmUp(driver: GuestDriver, call: Uint8Array): number {
  const end = systemClock.monotonic() + WARM_UP_MS;
  let count = 0;
  while (systemClock.monotonic() < end) {
    driver.run(call);
    count++;
  }
  return Math.max(1, Math.round((count * TURN_MS) / WARM_UP_MS));
}

function measureOne({ what, built, call, judged }: Subject, plan: Plan): Figure {
  const answer = answerOfAsk(contentOf(plan.seed));
  const bare = new GuestDriver(new WebAssembly.Module(built), answer);
  const prepared = new GuestDriver(revisionOf(built).compiled, answer);
  const init = encodeGuestCall({ case: "init", value: { $typeName: "sirsi.agent.v1.InitCall", agentId: "a", sessionId: "s", agentType: "bench", context: {} } });
  for (const asked of [init, call]) requireRight(Buffer.from(bare.ask(asked)).equals(prepared.ask(asked)), () => `${what}: prepared, it answers otherwise`);
  const times = Math.max(warmUp(bare, call), warmUp(prepared, call));
  const [ours, theirs]: [number[], number[]] = [[], []];
  for (let round = 0; round < plan.rounds * TURNS_A_ROUND; round++) {
    const first = round % 2 === 0;
    const a = first ? turn(bare, call, times) : turn(prepared, call, times);
    const b = first ? turn(prepared, call, times) : turn(bare, call, times);
    ours.push(((first ? b : a) * 1000) / times);
    theirs.push(((first ? a : b) * 1000) / times);
  }
  return {
    what,
    ours: readingOf(ours, "µs"),
    bare: { what: "the module as it was built", reading: readingOf(theirs, "µs") },
    compared: ratioOf(ours, theirs),
    target: judged ? { of: "compared", bound: "at most", value: AT_MOST } : null,
  };
}

export const meteringSection: Section = {
  name: "metering",
  title: "Metering and the ability to wait",
  notMeasured: ["a real wait: unwinding, and winding up again", "the host's side of a call", "modules built by other compilers"],
  run: async (plan) => (await subjects(plan)).map((subject) => measureOne(subject, plan)),
};
