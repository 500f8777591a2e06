/**
 * The sharp cases of a fleet, with real hosts and real servers: who may go on with an agent,
 * and what clients are told, when hosts, links and servers fail at bad moments. The long run
 * over all of them by lot is `npm run crash -- --fleet`.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { ClientError, type Host, type SirsiClient } from "../../runtime/client/index.ts";
import { HostAnswerSchema, HostQuestionSchema } from "../../runtime/contract/gen/sirsi/fleet/v1/fleet_pb.ts";
import { controlSubject } from "../../runtime/fleet/host-link.ts";
import { LedgerBuilds } from "../crash/ledger-builds.ts";
import { readReport, type Report } from "../crash/report.ts";
import { Doors } from "../crash/fleet/doors.ts";
import { FleetMember } from "../crash/fleet/fleet-member.ts";
import { FleetServers } from "../crash/fleet/fleet-servers.ts";
import { BUILD_TIMEOUT_MS } from "../support/built-agents.ts";
import { NatsRig } from "../support/nats-rig.ts";

const LEASE_MS = 1_500;
const LONG_MS = 120_000;
const PREFIX = "sirsi.agents";
const MODULE = "ledger";

const directory = mkdtempSync(join(tmpdir(), "sirsi-fleet-faults-"));
const over = new AbortController();
const doors = new Doors();
let servers: FleetServers;
let members: readonly [FleetMember, FleetMember, FleetMember];
let sessionId = "";
let named = 0;

beforeAll(async () => {
  const builds = await LedgerBuilds.open();
  const modules = new Map([[`${MODULE}.wasm`, builds.make("one").wasm]]);
  servers = await FleetServers.start();
  const make = (name: string) => FleetMember.make({ name, directory, servers, leaseMs: LEASE_MS, residents: 500, modules, over: over.signal });
  members = [await make("h1"), await make("h2"), await make("h3")];
  await Promise.all(members.map((member) => start(member)));
  const { session } = await doors.at("h1").agents.createSession({ userId: "faults" });
  sessionId = session?.sessionId ?? "";
}, BUILD_TIMEOUT_MS + LONG_MS);

afterAll(async () => {
  doors.close();
  over.abort();
  for (const member of members ?? []) await member[Symbol.asyncDispose]();
  await servers?.[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true, force: true });
}, LONG_MS);

/** Each test finds three hosts, and leaves what it broke to this. */
beforeEach(async () => {
  for (const member of members) {
    member.thaw();
    member.heal();
    if (!member.runs) await start(member);
  }
  for (const { name } of members) await sees(name, (hosts) => hosts.length === 3 && hosts.every(({ state }) => state === "active"));
}, LONG_MS);

async function start(member: FleetMember, skewMs = 0): Promise<void> {
  await member.start(skewMs);
  doors.open(member.name, member.address);
}

const client = (name: string): SirsiClient => doors.at(name);

async function hosts(door: string): Promise<readonly Host[]> {
  return (await client(door).operator.listHosts({}, { deadlineMs: 5_000 })).hosts;
}

/** Resolves with what the door says once that holds. */
async function sees(door: string, holds: (hosts: readonly Host[]) => boolean): Promise<readonly Host[]> {
  return await vi.waitFor(
    async () => {
      const all = await hosts(door);
      expect(all.map(({ name, state }) => `${name} ${state}`), `what ${door} sees`).toSatisfy(() => holds(all));
      return all;
    },
    { timeout: LONG_MS, interval: 50 },
  );
}

const idOf = async (name: string): Promise<string> => (await hosts(name)).find((host) => host.name === name)?.hostId ?? "";

/** New ledgers on a host, each with one line. */
async function ledgersOn(host: string, count: number): Promise<readonly string[]> {
  return await Promise.all(
    Array.from({ length: count }, async () => {
      const { agent } = await client("h1").agents.createAgent({ sessionId, agentType: MODULE, config: { parameters: { name: `n${++named}`, ballast_words: "64" } } });
      const agentId = agent?.agentId ?? "";
      await client("h1").operator.moveAgent({ agentId, host });
      await send(host, agentId, "add l 1 1");
      return agentId;
    }),
  );
}

let messages = 0;
const newMessageId = (): string => `faults-${++messages}`;

async function send(door: string, agentId: string, content: string, messageId = newMessageId()): Promise<string> {
  const { response } = await client(door).agents.sendMessage({ sessionId, agentId, message: { messageId, content } }, { deadlineMs: 20_000, retries: 0 });
  return response?.content ?? "";
}

/** As a careful client does it: the same message, until it is answered. Every refusal says when to come again. */
async function insist(door: string, agentId: string, content: string, messageId = newMessageId()): Promise<string> {
  for (;;) {
    try {
      return await send(door, agentId, content, messageId);
    } catch (thrown) {
      const error = ClientError.from(thrown);
      expect(error.retryAfterMs, `${error.reason}: ${error.message}`).not.toBeNull();
      await vi.waitFor(() => client(door).connect(1_000), { timeout: LONG_MS });
    }
  }
}

async function report(door: string, agentId: string): Promise<Report> {
  return readReport(await insist(door, agentId, "report 0"));
}

const kinds = ({ lines }: Report): readonly string[] => lines.map(({ kind }) => kind);

describe("two hosts that are told to take the same agents at the same moment", () => {
  it("share them: each agent has one owner, which goes on with all that it was told (D5)", { timeout: LONG_MS }, async () => {
    const ledgers = await ledgersOn("h1", 12);
    await members[0].kill();
    const [two, three] = (await sees("h2", (all) => all.length === 2)).toSorted((a, b) => (a.name < b.name ? -1 : 1)) as [Host, Host];
    await using rig = new NatsRig();
    const { bus } = await rig.open(servers.nats.url, { pingIntervalMs: 10_000 });
    const take = async ({ hostId }: Host, agentId: string): Promise<string> => {
      const question = create(HostQuestionSchema, { fromHostId: two.hostId, timeoutMs: 20_000n, question: { case: "activate", value: { agentId } } });
      const { data } = await bus.request(controlSubject(PREFIX, hostId), toBinary(HostQuestionSchema, question), { timeoutMs: 20_000 });
      return fromBinary(HostAnswerSchema, data).error?.code ?? "taken";
    };
    const answers = await Promise.all(ledgers.map(async (agentId) => (await Promise.all([take(two, agentId), take(three, agentId)])).toSorted()));
    expect(answers).toEqual(ledgers.map(() => ["AGENT_FENCED", "taken"]));
    const reports = await Promise.all(ledgers.map((agentId, i) => report(i % 2 === 0 ? "h2" : "h3", agentId)));
    expect(reports.map(kinds)).toEqual(ledgers.map(() => ["add"]));
    const shared = await sees("h2", (all) => all.reduce((sum, { residentAgents }) => sum + Number(residentAgents), 0) === 12);
    expect(shared.reduce((sum, { agents }) => sum + Number(agents), 0)).toBeGreaterThanOrEqual(12);
  });
});

describe("a host that is paused for longer than its lease", () => {
  it("finds its steps gone on with elsewhere when it wakes, and neither writes nor answers for them", { timeout: LONG_MS }, async () => {
    const ledgers = await ledgersOn("h1", 4);
    const before = await idOf("h1");
    const asked = ledgers.map((agentId) => ({ agentId, messageId: newMessageId() }));
    const first = Promise.all(asked.map(({ agentId, messageId }) => send("h1", agentId, "sleep l 2 2500", messageId).catch((thrown: unknown) => ClientError.from(thrown))));
    // In the wait, which is committed: others can go on from there.
    await vi.waitFor(async () => expect((await client("h2").operator.auditHost({})).audit?.pending).toBe(4n), { timeout: LONG_MS });
    members[0].freeze();
    await sees("h2", (all) => all.length === 2);
    const elsewhere = await Promise.all(asked.map(({ agentId, messageId }, i) => insist(i % 2 === 0 ? "h2" : "h3", agentId, "sleep l 2 2500", messageId)));
    members[0].thaw();
    const answers = await first;
    for (const [i, answer] of answers.entries()) {
      // It may have looked for the agent's new host by then, and got the recorded reply from there.
      if (answer instanceof ClientError) expect(["AGENT_FENCED", "DEADLINE_EXCEEDED", ""]).toContain(answer.reason);
      else expect(answer).toBe(elsewhere[i]);
    }
    await sees("h2", (all) => all.some(({ hostId, name, state }) => name === "h1" && state === "active" && hostId !== before));
    const reports = await Promise.all(ledgers.map((agentId) => report("h1", agentId)));
    expect(reports.map(kinds)).toEqual(ledgers.map(() => ["add", "sleep"]));
    expect(reports.flatMap(({ anomalies }) => anomalies)).toEqual([]);
    expect((await client("h1").operator.auditHost({})).audit).toMatchObject({ balanced: true, pending: 0n });
  });
});

describe("a host that has lost NATS", () => {
  it("answers for its own agents, says of the others' that one may come again, and is whole by itself afterwards", { timeout: LONG_MS }, async () => {
    const [own] = (await ledgersOn("h1", 1)) as [string];
    const [other] = (await ledgersOn("h2", 1)) as [string];
    const ids = await Promise.all(members.map(({ name }) => idOf(name)));
    const messageId = newMessageId();
    const inFlight = send("h1", other, "sleep l 2 1500", messageId).catch((thrown: unknown) => ClientError.from(thrown));
    await vi.waitFor(async () => expect((await client("h2").operator.auditHost({})).audit?.pending).toBe(1n), { timeout: LONG_MS });
    members[0].nats.cut();
    expect(await send("h1", own, "add l 2 5")).toMatch(/^2 /);
    const answer = await inFlight;
    const reply = await insist("h2", other, "sleep l 2 1500", messageId);
    if (answer instanceof ClientError) expect(answer.retryAfterMs, answer.message).not.toBeNull();
    else expect(answer).toBe(reply);
    members[0].nats.heal();
    expect(await insist("h1", other, "add l 3 5")).toMatch(/^3 /);
    expect(kinds(await report("h1", other))).toEqual(["add", "sleep", "add"]);
    expect(await Promise.all(members.map(({ name }) => idOf(name))), "nobody was buried").toEqual(ids);
  });
});

describe("a fleet whose PostgreSQL is killed", () => {
  it("refuses what it cannot commit, says when to come again, and goes on by itself when it is back", { timeout: LONG_MS }, async () => {
    const ledgers = await ledgersOn("h2", 2);
    const ids = await Promise.all(members.map(({ name }) => idOf(name)));
    await servers.postgres.kill();
    const sent = ledgers.map((agentId) => ({ agentId, messageId: newMessageId() }));
    const refusals = await Promise.all(sent.map(({ agentId, messageId }) => send("h2", agentId, "add l 2 5", messageId).catch((thrown: unknown) => ClientError.from(thrown))));
    for (const refusal of refusals) expect(refusal).toMatchObject({ reason: "STORE_UNAVAILABLE", retryAfterMs: expect.any(Number) as number });
    await servers.postgres.restart();
    for (const { agentId, messageId } of sent) expect(await insist("h3", agentId, "add l 2 5", messageId)).toMatch(/^2 /);
    expect((await Promise.all(ledgers.map((agentId) => report("h1", agentId)))).map(kinds)).toEqual([["add", "add"], ["add", "add"]]);
    expect(await Promise.all(members.map(({ name }) => idOf(name))), "nobody was buried").toEqual(ids);
  });
});

describe("a host whose clock is minutes ahead", () => {
  it("keeps the times of its fleet: its timers and sleeps go on in time on others, and no session ends early", { timeout: LONG_MS }, async () => {
    const [, , third] = members;
    await third.kill();
    await start(third, 10 * 60_000);
    const { session } = await client("h1").agents.createSession({ userId: "faults", config: { timeoutSeconds: 300 } });
    await expect(client("h3").agents.createAgent({ sessionId: session?.sessionId ?? "", agentType: MODULE })).resolves.toBeDefined();
    const [reminded, rested] = (await ledgersOn("h3", 2)) as [string, string];
    const messageId = newMessageId();
    const rest = send("h3", rested, "sleep l 2 2500", messageId).catch(() => "");
    await vi.waitFor(async () => expect((await client("h1").operator.auditHost({})).audit?.pending).toBe(1n), { timeout: LONG_MS });
    await send("h3", reminded, "remind l 2 5 500 1");
    await third.kill();
    await rest;
    expect(await insist("h1", rested, "sleep l 2 2500", messageId)).toMatch(/^2 /);
    await vi.waitFor(async () => expect(kinds(await report("h2", reminded))).toEqual(["add", "remind", "fired"]), { timeout: 15_000, interval: 100 });
  });
});
