/** How long it takes until a new agent is there: in the sandbox, in the runtime, and for a client. */
import { encodeGuestCall } from "../../runtime/contract/guest-codec.ts";
import type { Revision } from "../../runtime/module/revision.ts";
import { TestHouse } from "../support/house.ts";
import { builtRevision, FixedRevisions } from "../support/revisions.ts";
import { BareDatabase } from "./bare-database.ts";
import { BareShard } from "./bare-shard.ts";
import type { Figure } from "./figure.ts";
import { GrpcRig } from "./grpc-rig.ts";
import { contentOf } from "./messages.ts";
import { addedOf, inTurns, quantile, ratioOf, readingOf, timeEach } from "./rounds.ts";
import { type Plan, requireRight, type Section } from "./section.ts";

/** A turn makes at most this many, so that collected ones do not fill the address space. */
const SPAWNS_A_TURN = 400;
const P50_MS = 0.5;
const P99_MS = 5;
const CREATE_ADDED_MS = 2;
const BODY = new Uint8Array(600);

async function openAndInit(house: TestHouse, revision: Revision, call: Uint8Array, ms: number): Promise<number[]> {
  const handles: { close(): void }[] = [];
  const took = await timeEach(
    ms,
    async () => {
      const { handle, opened } = house.pool.open(revision, null, "bench");
      handles.push(handle);
      const step = handle.step(call, { timeoutMs: 10_000, fuel: revision.limits.fuelPerStep, state: "none", stateAtWait: false });
      const [outcome, end] = [await opened, await step];
      requireRight(outcome.kind === "opened" && end.kind === "done", () => `an instance opened with ${outcome.kind} and began with ${end.kind}`);
    },
    SPAWNS_A_TURN,
  );
  for (const handle of handles) handle.close();
  return took;
}

async function spawn(house: TestHouse, agentType: string, ms: number): Promise<number[]> {
  const ids: string[] = [];
  const took = await timeEach(ms, async () => void ids.push(await house.spawn(agentType)), SPAWNS_A_TURN);
  requireRight(new Set(ids).size === took.length, () => "two agents were spawned with one id");
  await Promise.all(ids.map((id) => house.house.stop(id, "the turn is over")));
  return took;
}

function p50p99(what: string, took: readonly (readonly number[])[], bareWhat: string, bare: readonly (readonly number[])[]): Figure[] {
  const at = (q: number, value: number): Figure => {
    const [ours, theirs] = [took.map((turn) => quantile(turn, q)), bare.map((turn) => quantile(turn, q))];
    return {
      what: `${what}, p${q * 100}`,
      ours: readingOf(ours, "ms"),
      bare: { what: bareWhat, reading: readingOf(theirs, "ms") },
      compared: ratioOf(ours, theirs),
      target: { of: "ours", bound: "at most", value },
    };
  };
  return [at(0.5, P50_MS), at(0.99, P99_MS)];
}

async function inRuntime(plan: Plan): Promise<Figure[]> {
  const [echo, counter] = await Promise.all([builtRevision("echo"), builtRevision("counter")]);
  const house = await TestHouse.open({ revisions: new FixedRevisions(echo, counter) });
  const bare = new BareShard(echo.compiled);
  const database = new BareDatabase(plan.folder);
  const init = encodeGuestCall({ case: "init", value: { $typeName: "sirsi.agent.v1.InitCall", agentId: "a", sessionId: "s", agentType: "echo", context: {} } });
  const once = {
    bare: async () => {
      const took = await timeEach(plan.roundMs, () => bare.instantiate(), SPAWNS_A_TURN);
      await bare.forget();
      return took;
    },
    disk: () => timeEach(plan.roundMs / 2, () => Promise.resolve(database.commit(BODY)), SPAWNS_A_TURN),
    sandbox: () => openAndInit(house, echo, init, plan.roundMs),
    echo: () => spawn(house, "echo", plan.roundMs),
    counter: () => spawn(house, "counter", plan.roundMs),
  };
  await inTurns(2, once);
  const taken = await inTurns(plan.rounds, once);
  house.events.length = 0;
  database.close();
  await bare.end();
  await house.shut();
  const instance = "WebAssembly.Instance of the same module, and a thread's round trip";
  const disk = taken.disk.map((turn) => quantile(turn, 0.5));
  return [
    ...p50p99("open an instance and run its init, on a shard", taken.sandbox, instance, taken.bare),
    ...p50p99("spawn an echo (no durability)", taken.echo, instance, taken.bare),
    ...p50p99("spawn a counter (durable)", taken.counter, instance, taken.bare),
    { what: "of which the disk: one flushed SQLite commit, p50", ours: readingOf(disk, "ms"), bare: null, compared: null, target: null },
  ];
}

async function throughGrpc(plan: Plan): Promise<Figure[]> {
  const rig = await GrpcRig.open(plan);
  try {
    const bareEcho = rig.bareLike(await rig.agents("echo", 1));
    const to = { address: rig.host.address, sessionId: rig.sessionId };
    const content = contentOf(plan.seed);
    const once = {
      bare: () => rig.run({ kind: "echo", to: bareEcho, raw: false, content, inFlight: 1, ms: plan.roundMs }),
      echo: () => rig.run({ kind: "create", to, agentType: "echo", ms: plan.roundMs }),
      counter: () => rig.run({ kind: "create", to, agentType: "counter", ms: plan.roundMs }),
    };
    await inTurns(2, once);
    const taken = await inTurns(plan.rounds, once);
    const p50 = (name: keyof typeof once) => taken[name].map((report) => report.p50);
    const figure = (name: "echo" | "counter", what: string): Figure => ({
      what: `CreateAgent of ${what} over gRPC, one at a time, p50`,
      ours: readingOf(p50(name), "ms"),
      bare: { what: "bare grpc-js unary echo", reading: readingOf(p50("bare"), "ms") },
      compared: addedOf(p50(name), p50("bare"), "ms"),
      target: { of: "compared", bound: "at most", value: CREATE_ADDED_MS },
    });
    return [figure("echo", "an echo"), figure("counter", "a counter (durable)")];
  } finally {
    await rig.close();
  }
}

export const spawnSection: Section = {
  name: "spawn",
  title: "A new agent",
  notMeasured: ["the first spawn of a revision on a shard, which has to hand the code to the shard", "spawning while the shard is busy with messages"],
  run: async (plan) => [...(await inRuntime(plan)), ...(await throughGrpc(plan))],
};
