/** What an operator proves, looks back at, forks and sends again, on a real host. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { AgentState, ClientError, type SirsiClient } from "../../runtime/client/index.ts";
import { BUILD_TIMEOUT_MS, builtFixture } from "../support/built-agents.ts";
import { cli } from "../support/cli-run.ts";
import { revised } from "../support/revised.ts";
import { runHost, type TestHost } from "../support/running-host.ts";

const PATIENCE = { timeout: 20_000, interval: 20 };

interface Place {
  readonly sessionId: string;
  readonly agentId: string;
}

let host: TestHost;
let client: SirsiClient;
let divider: Uint8Array;
let sessionId: string;

beforeAll(async () => {
  divider = readFileSync((await builtFixture("divider")).file);
  host = await runHost({ modules: ["counter"], env: { SIRSI_SWAP_WATCH_MS: "0", SIRSI_DURABILITY_BASE_EVERY: "8", SIRSI_DURABILITY_HISTORY_COMMITS: "20" } });
  client = host.client;
  await client.modules.installModule({ wasm: divider });
  sessionId = (await client.agents.createSession({ userId: "ada" })).session?.sessionId ?? "";
}, BUILD_TIMEOUT_MS);

afterAll(async () => {
  await host[Symbol.asyncDispose]();
});

async function spawn(agentType: string, inSession = sessionId, metadata: Record<string, string> = {}): Promise<Place> {
  const { agent } = await client.agents.createAgent({ sessionId: inSession, agentType, metadata });
  return { sessionId: inSession, agentId: agent?.agentId ?? "" };
}

async function say(place: Place, content: string, messageId = crypto.randomUUID() as string): Promise<string> {
  return (await client.agents.sendMessage({ ...place, message: { messageId, content } })).response?.content ?? "";
}

async function failure(promise: Promise<unknown>): Promise<ClientError> {
  const thrown = await promise.then(() => null, (error: unknown) => error);
  if (thrown instanceof ClientError) return thrown;
  throw new Error(`expected a ClientError, got ${String(thrown)}`);
}

const run = (...argv: string[]) => cli(["--address", host.grpcAddress, ...argv], { cwd: host.home.directory });
const commitsOf = async ({ agentId }: Place) => (await client.operator.listCommits({ agentId, pageSize: 1_000 })).commits;
const savedText = (saved: { readonly state: Uint8Array } | undefined) => (saved === undefined ? undefined : Buffer.from(saved.state).toString());

describe("an agent's history", () => {
  it("lists its commits, and each of them can be rebuilt, while the agent works on", async () => {
    const place = await spawn("divider");
    for (let i = 1; i <= 12; i++) expect(await say(place, "divide 10 1", `m-${i}`)).toBe(String(10 * i));
    const commits = await commitsOf(place);
    expect(commits.map(({ sequence }) => Number(sequence))).toEqual(Array.from({ length: 13 }, (_, i) => 13 - i));
    expect(commits.map(({ cause }) => cause)).toEqual([...Array.from({ length: 12 }, () => "message"), "init"]);
    expect(commits[0]).toMatchObject({ causeId: "m-12" });
    expect(new Set(commits.map(({ stateKind }) => stateKind))).toEqual(new Set(["base", "difference"]));
    const states = await Promise.all([1n, 2n, 7n, 13n].map((atSequence) => client.operator.inspectState({ agentId: place.agentId, atSequence })));
    expect(states.map(({ sequence, saved }) => [Number(sequence), savedText(saved)])).toEqual([
      [1, "total 0"],
      [2, "total 10"],
      [7, "total 60"],
      [13, "total 120"],
    ]);
    for (const state of states) {
      expect(Number(state.memoryBytes) % 65_536).toBe(0);
      expect(state.touched.length).toBeGreaterThan(0);
      expect(state).toMatchObject({ moduleVersion: "1.0.0", suspended: false, saveError: "" });
    }
    expect(await say(place, "divide 1 1")).toBe("121");
    expect(await commitsOf(place)).toHaveLength(14);
    expect((await client.operator.listCommits({ agentId: place.agentId, beforeSequence: 3n })).commits.map(({ sequence }) => sequence)).toEqual([2n, 1n]);
  });

  it("goes back as far as the setting says, and a state beyond that is told from one that never was", async () => {
    const place = await spawn("counter");
    for (let i = 0; i < 60; i++) await say(place, "increment");
    const commits = await commitsOf(place);
    const oldest = Number(commits.at(-1)?.sequence);
    expect(oldest).toBeGreaterThan(1);
    expect(61 - oldest).toBeGreaterThanOrEqual(20);
    expect(savedText((await client.operator.inspectState({ agentId: place.agentId, atSequence: BigInt(oldest) })).saved)?.split("\n")[0]).toBe(String(oldest - 1));
    const trimmed = await failure(client.operator.inspectState({ agentId: place.agentId, atSequence: 1n }));
    expect([trimmed.reason, trimmed.message]).toEqual(["STATE_NOT_KEPT", expect.stringContaining("no longer kept")]);
    const never = await failure(client.operator.inspectState({ agentId: place.agentId, atSequence: 1_000n }));
    expect([never.reason, never.message]).toEqual(["STATE_NOT_KEPT", expect.stringContaining("has made 61 commits")]);
  });

  it("shows a step in the middle of a wait, which cannot be forked", async () => {
    const place = await spawn("divider");
    await say(place, "divide 5 1");
    const sleeping = say(place, "sleep 25000").catch(() => undefined);
    await vi.waitFor(async () => expect((await commitsOf(place))[0]?.cause).toBe("wait"), PATIENCE);
    const state = await client.operator.inspectState({ agentId: place.agentId });
    expect(state).toMatchObject({ suspended: true, saveError: expect.stringContaining("in the middle of a wait") as string });
    expect(state.saved).toBeUndefined();
    const refused = await failure(client.operator.forkAgent({ agentId: place.agentId }));
    expect([refused.reason, refused.message, refused.metadata["nearest_sequence"]]).toEqual(["INVALID_ARGUMENT", expect.stringContaining("fork commit 2"), "2"]);
    const { agentId } = await client.operator.forkAgent({ agentId: place.agentId, atSequence: 2n });
    expect(await say({ ...place, agentId }, "total")).toBe("5");
    await client.agents.deleteAgent(place);
    await sleeping;
  });
});

describe("a fork", () => {
  it("goes on from the state it was taken of, with a life of its own", async () => {
    const place = await spawn("divider", sessionId, { team: "infra" });
    for (let i = 1; i <= 5; i++) await say(place, "divide 10 1", `m-${i}`);
    const { agentId } = await client.operator.forkAgent({ agentId: place.agentId, atSequence: 3n });
    const fork = { sessionId, agentId };
    expect((await client.agents.getAgent(fork)).agent).toMatchObject({ agentType: "divider", parentAgentId: "", metadata: { team: "infra", "sirsi.forked_from": `${place.agentId}@3` } });
    expect((await client.agents.listMessages(fork)).exchanges).toEqual([]);
    expect((await commitsOf(fork)).map(({ cause, causeId, stateKind }) => [cause, causeId, stateKind])).toEqual([["fork", `${place.agentId}@3`, "base"]]);
    // A message id that the other has done is new to this one.
    expect([await say(fork, "divide 1 1", "m-5"), await say(place, "total")]).toEqual(["21", "50"]);
    expect(savedText((await client.operator.inspectState({ agentId })).saved)).toBe("total 21");
    expect((await client.operator.auditAgent({ agentId })).audit).toMatchObject({ received: 1n, done: 1n, balanced: true });
  });

  it("counts for its session's limit", async () => {
    const { session } = await client.agents.createSession({ userId: "ada", config: { maxAgents: 2 } });
    const place = await spawn("divider", session?.sessionId ?? "");
    await client.operator.forkAgent({ agentId: place.agentId });
    expect((await failure(client.operator.forkAgent({ agentId: place.agentId }))).reason).toBe("AGENT_LIMIT_REACHED");
    expect((await failure(client.agents.createAgent({ ...place, agentType: "divider" }))).reason).toBe("AGENT_LIMIT_REACHED");
  });
});

describe("a message that its agent dies of", () => {
  it("becomes a dead letter, is done once the module is mended, and the books balance throughout", async () => {
    const place = await spawn("divider");
    await say(place, "divide 7 1");
    const poison = crypto.randomUUID();
    await vi.waitFor(async () => expect((await failure(say(place, "divide 7 0", poison))).reason).toBe("DEAD_LETTERED"), PATIENCE);
    const { deadLetters } = await client.operator.listDeadLetters({ agentId: place.agentId });
    expect(deadLetters).toMatchObject([{ agentId: place.agentId, sessionId, messageId: poison, sourceAgentId: "", content: "divide 7 0", attempts: 2 }]);
    const id = deadLetters[0]?.deadLetterId ?? "";
    expect((await client.operator.auditAgent({ agentId: place.agentId })).audit).toMatchObject({ received: 2n, done: 1n, deadLettered: 1n, balanced: true });
    expect(await say(place, "divide 7 1")).toBe("14");

    expect((await failure(client.operator.retryDeadLetter({ deadLetterId: id }))).reason).toMatch(/^(GUEST_TRAP|DEAD_LETTERED)$/);
    expect((await client.operator.getDeadLetter({ deadLetterId: id })).deadLetter?.messageId).toBe(poison);

    await client.modules.installModule({ wasm: revised(divider, { version: "1.1.0", defaultConfig: { mended: "yes" } }) });
    await vi.waitFor(async () => expect((await client.agents.getAgent(place)).agent?.moduleVersion).toBe("1.1.0"), PATIENCE);
    expect(await client.operator.retryDeadLetter({ deadLetterId: id })).toMatchObject({ content: "undefined", errorMessage: "" });
    expect((await failure(client.operator.getDeadLetter({ deadLetterId: id }))).reason).toBe("DEAD_LETTER_NOT_FOUND");
    expect((await client.operator.auditAgent({ agentId: place.agentId })).audit).toMatchObject({ received: 4n, done: 3n, deadLettered: 1n, balanced: true });
    // It is done: a repeat of the client's gets the reply.
    expect([await say(place, "divide 7 0", poison), await say(place, "total")]).toEqual(["undefined", "14"]);
  });

  it("can only be dropped when the agent has ended", async () => {
    const place = await spawn("counter");
    const victim = await spawn("divider");
    const poison = crypto.randomUUID();
    await client.modules.installModule({ wasm: revised(divider, { version: "1.2.0", defaultConfig: { mended: "no" } }) });
    await vi.waitFor(async () => expect((await client.agents.getAgent(victim)).agent?.moduleVersion).toBe("1.2.0"), PATIENCE);
    await vi.waitFor(async () => expect((await failure(say(victim, "divide 1 0", poison))).reason).toBe("DEAD_LETTERED"), PATIENCE);
    await client.agents.deleteAgent(victim);
    const [letter] = (await client.operator.listDeadLetters({ agentId: victim.agentId })).deadLetters;
    const deadLetterId = letter?.deadLetterId ?? "";
    expect(await failure(client.operator.retryDeadLetter({ deadLetterId }))).toMatchObject({ reason: "AGENT_TERMINATED", message: expect.stringContaining(`sirsi deadletter drop ${deadLetterId}`) as string });
    expect((await run("deadletter", "drop", deadLetterId)).code).toBe(0);
    expect((await client.operator.listDeadLetters({ agentId: victim.agentId })).deadLetters).toEqual([]);
    expect(await say(place, "increment")).toBe("1");
  });
});

describe("an agent that was set aside", () => {
  it("goes on with what waited for it once it is released", async () => {
    const place = await spawn("divider");
    await say(place, "divide 9 1");
    for (let i = 0; i < 6; i++) await failure(say(place, "divide 9 0"));
    expect((await client.agents.getAgentStatus(place)).status).toMatchObject({ state: AgentState.ERROR, statusMessage: expect.stringContaining("divide by zero") as string });
    const waiting = say(place, "total");
    await vi.waitFor(async () => expect((await client.agents.getAgentStatus(place)).status?.statusDetails["mailbox_depth"]).toBe("1"), PATIENCE);
    expect(await run("agent", "release", place.agentId)).toMatchObject({ code: 0, stderr: `agent ${place.agentId} works again\n` });
    expect(await waiting).toBe("9");
    expect((await client.agents.getAgentStatus(place)).status).toMatchObject({ state: AgentState.READY, statusMessage: "" });
  });

  it("is told from one that is not there", async () => {
    expect((await failure(client.operator.releaseAgent({ agentId: crypto.randomUUID() }))).reason).toBe("AGENT_NOT_FOUND");
  });
});

describe("the command line", () => {
  it("audits, looks back and forks", async () => {
    const place = await spawn("counter");
    await say(place, "add 41", "the-answer");
    const history = await run("agent", "history", place.agentId);
    expect(history.stdout).toMatch(/^COMMIT.*\n2 +message +the-answer .*\n1 +init /);
    const inspected = await run("agent", "inspect", place.agentId, "--at", "2", "--out", "state.txt");
    expect(inspected.stdout).toContain("save() gave schema 1, 9 B:\n41\nadd 41\n");
    expect(readFileSync(join(host.home.directory, "state.txt"), "utf8")).toBe("41\nadd 41");
    const fork = await run("agent", "fork", place.agentId, "--at", "1", "--quiet");
    expect(await say({ sessionId, agentId: fork.stdout.trim() }, "get")).toBe("0");
    expect(await run("audit", "host")).toMatchObject({ code: 0, stdout: expect.stringContaining("books     balanced") as string });
    expect((await run("module", "inspect", "counter")).stdout).toMatch(/recovery +reads one base and at most 7 differences, and a wait\n/);
  });
});

describe("an audit", () => {
  it("of a store that was tampered with says what does not add up", async () => {
    const place = await spawn("counter");
    for (let i = 0; i < 3; i++) await say(place, "increment");
    expect((await run("audit", "agent", place.agentId)).code).toBe(0);
    const intruder = new DatabaseSync(join(host.home.dataDir, "sirsi.db"));
    try {
      intruder.prepare("UPDATE agent_progress SET done = done - 1 WHERE agent_key = (SELECT agent_key FROM agents WHERE agent_id = ?)").run(place.agentId);
      intruder.prepare("DELETE FROM commits WHERE kind = 'base' AND agent_key = (SELECT agent_key FROM agents WHERE agent_id = ?)").run(place.agentId);
    } finally {
      intruder.close();
    }
    const audit = await run("audit", "agent", place.agentId);
    expect([audit.code, audit.stdout]).toEqual([8, expect.stringMatching(new RegExp(`NOT BALANCED[^]*3 received is not 2 done[^]*agent ${place.agentId}: it received 3 messages[^]*should be its newest base`))]);
    const { audit: whole } = await client.operator.auditHost({});
    expect(whole?.balanced).toBe(false);
    expect(new Set(whole?.findings.map(({ agentId }) => agentId))).toEqual(new Set([place.agentId]));
  });
});
