import { create, type DescMessage, type MessageInitShape, type MessageShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { beforeEach, describe, expect, it, vi } from "vitest";
import {
  AuditAgentRequestSchema,
  AuditHostRequestSchema,
  DropDeadLetterRequestSchema,
  ForkAgentRequestSchema,
  GetDeadLetterRequestSchema,
  InspectStateRequestSchema,
  ListCommitsRequestSchema,
  ListDeadLettersRequestSchema,
  ReleaseAgentRequestSchema,
  RetryDeadLetterRequestSchema,
} from "../../../runtime/contract/gen/sirsi/hypervisor/v1/hypervisor_service_pb.ts";
import { Deferred } from "../../../runtime/core/deferred.ts";
import { SirsiError } from "../../../runtime/core/errors.ts";
import { AGENT, BALANCED, chain, commitEntry, DIGEST, letter, NOBODY, type OperatorBench, operatorBench, record, SESSION } from "../../support/operator-bench.ts";
import { call, codeOf, refusal, wrongFields } from "../../support/service-bench.ts";

let bench: OperatorBench;
beforeEach(() => {
  bench = operatorBench();
});

/** The agent has made so many commits. */
function put(commitSequence: number): void {
  bench.agents.set(AGENT, { ...bench.agents.get(AGENT)!, commitSequence });
}

function of<Schema extends DescMessage>(schema: Schema, fields: MessageInitShape<Schema>): MessageShape<Schema> {
  return create(schema, fields);
}

const trap = { kind: "failed", error: new SirsiError("GUEST_TRAP", "it trapped").toPlain(), fuelUsed: 1 } as const;
const lost = { kind: "lost", culprit: false, why: "its shard ended" } as const;

describe("auditing", () => {
  it("an agent tells its books", async () => {
    const { audit } = await bench.calls.auditAgent(of(AuditAgentRequestSchema, { agentId: AGENT }), call());
    expect(audit).toMatchObject({ agents: 1n, received: 6n, done: 3n, pending: 1n, deadLettered: 2n, outbox: 4n, timers: 5n, findings: [], balanced: true });
  });

  it("an agent that is not there is an error, and so is an id that is none", async () => {
    expect(await codeOf(bench.calls.auditAgent(of(AuditAgentRequestSchema, { agentId: NOBODY }), call()))).toBe("AGENT_NOT_FOUND");
    expect(wrongFields(await refusal(bench.calls.auditAgent(of(AuditAgentRequestSchema, { agentId: "x" }), call())))).toEqual(["agent_id"]);
  });

  it("books with a finding, or with sums that differ, do not balance", async () => {
    const balanced = async () => (await bench.calls.auditHost(of(AuditHostRequestSchema, {}), call())).audit?.balanced;
    expect(await balanced()).toBe(true);
    bench.audit = { ...BALANCED, findings: [{ agentId: AGENT, check: "chain", explanation: "its base is gone" }] };
    expect(await balanced()).toBe(false);
    bench.audit = { ...BALANCED, done: 4 };
    expect(await balanced()).toBe(false);
  });

  it("the host lists as many findings as asked for", async () => {
    await bench.calls.auditHost(of(AuditHostRequestSchema, {}), call());
    await bench.calls.auditHost(of(AuditHostRequestSchema, { maxFindings: 3 }), call());
    expect(bench.auditMax).toEqual([100, 3]);
    expect(wrongFields(await refusal(bench.calls.auditHost(of(AuditHostRequestSchema, { maxFindings: -1 }), call())))).toEqual(["max_findings"]);
  });
});

describe("ListCommits", () => {
  beforeEach(() => {
    bench.commits = [commitEntry(40), commitEntry(39, "wait"), commitEntry(38, "base")];
  });

  it("tells commits, newest first, below the one named", async () => {
    const { commits } = await bench.calls.listCommits(of(ListCommitsRequestSchema, { agentId: AGENT, beforeSequence: 40n, pageSize: 1 }), call());
    expect(commits).toMatchObject([{ sequence: 39n, cause: "wait", causeId: "m-39", committedAt: timestampFromMs(5_039), digest: DIGEST, stateKind: "wait", stateBytes: 139n }]);
    expect((await bench.calls.listCommits(of(ListCommitsRequestSchema, { agentId: AGENT }), call())).commits).toHaveLength(3);
  });

  it("tells an agent without commits from none at all", async () => {
    bench.commits = [];
    expect((await bench.calls.listCommits(of(ListCommitsRequestSchema, { agentId: AGENT }), call())).commits).toEqual([]);
    expect(await codeOf(bench.calls.listCommits(of(ListCommitsRequestSchema, { agentId: NOBODY }), call()))).toBe("AGENT_NOT_FOUND");
  });

  it("names every wrong field", async () => {
    const error = await refusal(bench.calls.listCommits(of(ListCommitsRequestSchema, { agentId: "", beforeSequence: -1n, pageSize: 5_000 }), call()));
    expect(wrongFields(error)).toEqual(["agent_id", "before_sequence", "page_size"]);
  });
});

describe("InspectState", () => {
  const inspect = (atSequence = 0n) => bench.calls.inspectState(of(InspectStateRequestSchema, { agentId: AGENT, atSequence }), call());
  beforeEach(() => {
    bench.states.set(40, chain(40)).set(30, chain(30, { base: Uint8Array.of(5), differences: [] }));
  });

  it("rebuilds the newest state, or the one asked for, in an instance of its own that is closed again", async () => {
    expect(await inspect()).toMatchObject({
      sequence: 40n,
      digest: DIGEST,
      moduleVersion: "1.2.0",
      memoryBytes: 65_536n,
      touched: [{ start: 16n, length: 4n }],
      globals: [{ name: "sp", type: "i32", value: "-1" }],
      suspended: false,
      saved: { schema: 3, state: Uint8Array.of(7, 8) },
      saveError: "",
    });
    expect((await inspect(30n)).sequence).toBe(30n);
    expect(bench.opened).toEqual([
      { images: [1, 2, 3], tag: `copy-of-${AGENT}` },
      { images: [5], tag: `copy-of-${AGENT}` },
    ]);
    expect(bench.held).toEqual({ instances: 0, revisions: 0 });
    expect(bench.committed).toEqual([]);
  });

  it("of a wait tells all but what save() would say", async () => {
    put(41);
    bench.states.set(41, chain(41, { wait: { image: Uint8Array.of(4), preparation: "p2" } }));
    bench.script.suspended = true;
    const state = await inspect();
    expect(state).toMatchObject({ sequence: 41n, suspended: true, saveError: expect.stringContaining("in the middle of a wait") as string });
    expect(state.saved).toBeUndefined();
    expect(bench.opened[0]?.images).toEqual([1, 2, 3, 4]);
  });

  it("after a commit that wrote no state is the one before, and a wait that had ended by then is no part of it", async () => {
    bench.states.set(38, chain(38, { wait: { image: Uint8Array.of(4), preparation: "p2" } }));
    expect((await inspect(39n)).sequence).toBe(38n);
    expect(bench.opened[0]?.images).toEqual([1, 2, 3]);
  });

  it("of a wait under a preparation that is gone points elsewhere", async () => {
    put(41);
    bench.states.set(41, chain(41, { wait: { image: Uint8Array.of(4), preparation: "p1" } }));
    expect(await refusal(inspect())).toMatchObject({ code: "STATE_NOT_KEPT", message: expect.stringContaining("the preparation p1") as string });
    expect([bench.opened, bench.held]).toEqual([[], { instances: 0, revisions: 0 }]);
  });

  it.each([
    ["an error of the guest", { case: "error", value: { $typeName: "sirsi.agent.v1.GuestError", code: "no_save", message: "nothing to save", retryable: false, details: {} } }, "nothing to save"],
    ["another answer", { case: "done", value: { $typeName: "sirsi.agent.v1.Done" } }, "answered save with done"],
    ["a request", "waiting", "gets no answers"],
    ["a trap", trap, "GUEST_TRAP: it trapped"],
    ["a shard that ends", lost, "its shard ended"],
    ["more bytes than it may have", { case: "save", value: { $typeName: "sirsi.agent.v1.SaveResult", schema: 1, state: new Uint8Array(16 * 1024 * 1024 + 1) } }, "state_max_bytes"],
  ] as const)("tells the rest when save() ends in %s", async (_what, answer, why) => {
    bench.script.save = answer as OperatorBench["script"]["save"];
    const state = await inspect();
    expect(state).toMatchObject({ memoryBytes: 65_536n, saveError: expect.stringContaining(why) as string });
    expect(state.saved).toBeUndefined();
    expect(bench.held).toEqual({ instances: 0, revisions: 0 });
  });

  it.each([
    ["open", trap, "GUEST_TRAP"],
    ["open", lost, "SHARD_LOST"],
    ["describe", trap, "GUEST_TRAP"],
    ["describe", lost, "SHARD_LOST"],
  ] as const)("ends with the error when the copy cannot %s, and leaves nothing behind", async (what, end, code) => {
    bench.script[what] = end;
    expect(await codeOf(inspect())).toBe(code);
    expect(bench.held).toEqual({ instances: 0, revisions: 0 });
  });

  it("says what is wrong with a commit that has no state", async () => {
    expect(await refusal(inspect(12n))).toMatchObject({ code: "STATE_NOT_KEPT", message: expect.stringContaining("no longer kept") as string });
    expect(await refusal(inspect(99n))).toMatchObject({ code: "STATE_NOT_KEPT", message: expect.stringContaining("has made 40 commits") as string });
    bench.states.clear();
    expect(await refusal(inspect())).toMatchObject({ code: "STATE_NOT_KEPT", message: expect.stringContaining('durability is "none"') as string });
    expect(await codeOf(bench.calls.inspectState(of(InspectStateRequestSchema, { agentId: NOBODY }), call()))).toBe("AGENT_NOT_FOUND");
    expect(wrongFields(await refusal(bench.calls.inspectState(of(InspectStateRequestSchema, { agentId: "?", atSequence: -4n }), call())))).toEqual(["agent_id", "at_sequence"]);
  });

  it("rebuilds only a few states at once", async () => {
    const gate = new Deferred<void>();
    bench.script.opening = gate.promise;
    const first = Array.from({ length: 4 }, () => inspect());
    expect(await refusal(inspect())).toMatchObject({ code: "OVERLOADED", details: { retryAfterMs: 500 } });
    gate.resolve();
    await Promise.all(first);
    expect((await inspect()).sequence).toBe(40n);
  });
});

describe("ForkAgent", () => {
  const fork = (atSequence = 0n) => bench.calls.forkAgent(of(ForkAgentRequestSchema, { agentId: AGENT, atSequence }), call());
  beforeEach(() => {
    bench.states.set(40, chain(40)).set(30, chain(30));
    bench.clock.advance(1_000);
  });

  it("starts an agent of the same session, module and configuration whose first commit holds the state whole", async () => {
    const { agentId } = await fork(30n);
    const [commit] = bench.committed;
    expect(commit).toMatchObject({
      agentId,
      epoch: 1,
      commitSequence: 1,
      cause: "fork",
      causeId: `${AGENT}@30`,
      state: { kind: "base", digest: DIGEST, preparation: "p2", image: Uint8Array.of(9, 9) },
      wait: null,
      exchange: null,
      counters: { messagesProcessed: 0 },
      timers: [],
      keepExchanges: 100,
      keepCommits: 64,
    });
    const source = record();
    expect(commit?.agent).toEqual({
      ...source,
      agentId,
      digest: DIGEST,
      parentAgentId: null,
      createdAt: bench.clock.now(),
      updatedAt: bench.clock.now(),
      metadata: { team: "infra", "sirsi.forked_from": `${AGENT}@30` },
      statusMessage: "",
    });
    expect(bench.adopted).toEqual([[SESSION, agentId]]);
    expect(bench.events).toMatchObject([{ type: "AGENT_SPAWNED", sessionId: SESSION, sourceAgentId: agentId, attributes: { forked_from: `${AGENT}@30` } }]);
    expect(bench.held).toEqual({ instances: 0, revisions: 0 });
  });

  it("takes the newest state when none is named", async () => {
    await fork();
    expect(bench.committed[0]?.causeId).toBe(`${AGENT}@40`);
  });

  it("refuses a state in the middle of a wait and names the nearest one at rest", async () => {
    bench.script.suspended = true;
    put(41);
    bench.states.set(41, chain(41, { wait: { image: Uint8Array.of(4), preparation: "p2" } }));
    bench.commits = [commitEntry(42), commitEntry(41, "wait"), commitEntry(40, "wait"), commitEntry(39), commitEntry(38)];
    const error = await refusal(fork(41n));
    expect(error).toMatchObject({ code: "INVALID_ARGUMENT", message: expect.stringContaining("fork commit 39") as string, details: { metadata: { nearest_sequence: "39" } } });
    expect(wrongFields(error)).toEqual(["at_sequence"]);
    bench.commits = [commitEntry(43), commitEntry(42), commitEntry(41, "wait")];
    expect((await refusal(fork(41n))).message).toContain("fork commit 42");
    bench.commits = [commitEntry(41, "wait")];
    expect((await refusal(fork(41n))).message).toContain("no commit at rest is kept");
    expect([bench.committed, bench.adopted]).toEqual([[], []]);
  });

  it("keeps to the session's limit, also while the number of its agents is not known", async () => {
    bench.live = 3;
    expect(await refusal(fork())).toMatchObject({ code: "AGENT_LIMIT_REACHED", message: expect.stringContaining("may have 3") as string });
    const asked = new Deferred<number>();
    bench.live = asked.promise;
    const waiting = fork();
    bench.live = 2;
    asked.resolve(2);
    await waiting;
    expect(bench.committed).toHaveLength(1);
  });

  it("is refused in a session that has closed, and is ended when its session closed meanwhile", async () => {
    bench.sessionClosed = new SirsiError("SESSION_TERMINATED", "it was ended");
    expect(await codeOf(fork())).toBe("SESSION_TERMINATED");
    expect(bench.committed).toEqual([]);
    bench.sessionClosed = null;
    const opening = new Deferred<void>();
    bench.script.opening = opening.promise;
    const late = fork();
    await vi.waitFor(() => expect(bench.opened).toHaveLength(1));
    bench.sessionClosed = new SirsiError("SESSION_TERMINATED", "it was ended");
    opening.resolve();
    expect(await codeOf(late)).toBe("SESSION_TERMINATED");
    expect([bench.adopted.length, bench.stopped]).toEqual([1, bench.adopted.map(([, agentId]) => agentId)]);
    expect(bench.events).toEqual([]);
  });

  it("leaves no agent behind when the commit fails", async () => {
    bench.failCommit = new SirsiError("STORE_UNAVAILABLE", "the disk is full");
    expect(await codeOf(fork())).toBe("STORE_UNAVAILABLE");
    expect([bench.adopted, bench.events]).toEqual([[], []]);
  });

  it.each([
    ["a trap", trap, "GUEST_TRAP"],
    ["a shard that ends", lost, "SHARD_LOST"],
  ] as const)("writes nothing when taking the state ends in %s", async (_what, end, code) => {
    bench.script.take = end;
    expect(await codeOf(fork())).toBe(code);
    expect(bench.committed).toEqual([]);
  });

  it("of an agent that is not there is an error", async () => {
    expect(await codeOf(bench.calls.forkAgent(of(ForkAgentRequestSchema, { agentId: NOBODY }), call()))).toBe("AGENT_NOT_FOUND");
  });
});

describe("dead letters", () => {
  const retry = (deadLetterId: string) => bench.calls.retryDeadLetter(of(RetryDeadLetterRequestSchema, { deadLetterId }), call({ deadline: 77, traceparent: "t" }));

  it("are listed with the beginning of their content, also when one cannot be read", async () => {
    bench.letters.set("d1", letter("d1"));
    bench.letters.set("d2", letter("d2", { body: Uint8Array.of(0xff) }));
    const { deadLetters } = await bench.calls.listDeadLetters(of(ListDeadLettersRequestSchema, { sessionId: SESSION, agentId: AGENT, beforeId: "d9", pageSize: 7 }), call());
    expect(deadLetters).toMatchObject([
      { deadLetterId: "d1", agentId: AGENT, sessionId: SESSION, messageId: "m-d1", reason: "GUEST_TRAP", explanation: "it trapped", attempts: 2, deadAt: timestampFromMs(9_000), content: "content of d1" },
      { deadLetterId: "d2", content: "(cannot be read)" },
    ]);
    await bench.calls.listDeadLetters(of(ListDeadLettersRequestSchema, {}), call());
    expect(bench.letterQueries).toEqual([
      { sessionId: SESSION, agentId: AGENT, beforeId: "d9", limit: 7 },
      { sessionId: null, agentId: null, beforeId: "", limit: 50 },
    ]);
  });

  it("a listing names every wrong field", async () => {
    const error = await refusal(bench.calls.listDeadLetters(of(ListDeadLettersRequestSchema, { sessionId: "s", agentId: "a", beforeId: "x".repeat(129), pageSize: -1 }), call()));
    expect(wrongFields(error)).toEqual(["agent_id", "before_id", "page_size", "session_id"]);
  });

  it("are read whole, one by one", async () => {
    bench.letters.set("d1", letter("d1"));
    bench.letters.set("d2", letter("d2", { body: new Uint8Array() }));
    const get = (deadLetterId: string) => bench.calls.getDeadLetter(of(GetDeadLetterRequestSchema, { deadLetterId }), call());
    expect((await get("d1")).deadLetter).toMatchObject({ content: "content of d1" });
    expect(await codeOf(get("d2"))).toBe("STORE_CORRUPT");
    expect(await codeOf(get("d3"))).toBe("DEAD_LETTER_NOT_FOUND");
    expect(wrongFields(await refusal(get("")))).toEqual(["dead_letter_id"]);
    expect(wrongFields(await refusal(get("x".repeat(129))))).toEqual(["dead_letter_id"]);
  });

  it("are sent again under their own message id, and are gone once they are taken", async () => {
    bench.letters.set("d1", letter("d1"));
    expect(await retry("d1")).toMatchObject({ content: "content of d1", errorMessage: "" });
    const [sent] = bench.deliveries;
    expect(sent).toMatchObject({ agentId: AGENT, delivery: { message: { messageId: "m-d1", content: "content of d1" }, context: { k: "v" }, deadLetterId: "d1", outboxKey: null, deadline: 77, traceparent: "t" } });
    expect(bench.letters.size).toBe(0);
  });

  it("that the agent answers with an error of its own are taken too", async () => {
    bench.letters.set("d1", letter("d1"));
    bench.answer = () => Promise.reject(new SirsiError("GUEST_ERROR", "no such account", { metadata: { guest_code: "not_found" } }));
    expect(await retry("d1")).toMatchObject({ content: "", errorMessage: "no such account" });
    expect(bench.letters.size).toBe(0);
  });

  it("that fail again stay, and the failure is told", async () => {
    bench.letters.set("d1", letter("d1"));
    bench.answer = () => Promise.reject(new SirsiError("GUEST_TRAP", "it trapped again"));
    expect(await refusal(retry("d1"))).toMatchObject({ code: "GUEST_TRAP", message: "it trapped again" });
    expect(bench.letters.size).toBe(1);
  });

  it.each([
    ["AGENT_TERMINATED", "has ended"],
    ["AGENT_NOT_FOUND", "is not one of session"],
  ] as const)("for an agent that goes away meanwhile (%s) say that they can only be dropped", async (code, words) => {
    bench.letters.set("d1", letter("d1"));
    bench.answer = () => Promise.reject(new SirsiError(code, "x"));
    const error = await refusal(retry("d1"));
    expect([error.code, error.message]).toEqual([code, expect.stringMatching(new RegExp(`${words}.*sirsi deadletter drop d1`))]);
    expect(bench.letters.size).toBe(1);
  });

  it("never reach an agent that has ended, is not there, or is of another session", async () => {
    bench.letters.set("d1", letter("d1", { agentId: NOBODY })).set("d2", letter("d2", { sessionId: NOBODY })).set("d3", letter("d3"));
    expect([await codeOf(retry("d1")), await codeOf(retry("d2"))]).toEqual(["AGENT_NOT_FOUND", "AGENT_NOT_FOUND"]);
    bench.agents.set(AGENT, { ...bench.agents.get(AGENT)!, record: record({ state: "TERMINATED" }) });
    expect(await codeOf(retry("d3"))).toBe("AGENT_TERMINATED");
    expect([bench.deliveries, bench.letters.size]).toEqual([[], 3]);
  });

  it("are not sent in a session that has closed", async () => {
    bench.letters.set("d1", letter("d1"));
    bench.sessionClosed = new SirsiError("SESSION_EXPIRED", "it has expired");
    expect(await codeOf(retry("d1"))).toBe("SESSION_EXPIRED");
    expect(bench.deliveries).toEqual([]);
  });

  it("that cannot be read are not sent", async () => {
    bench.letters.set("d1", letter("d1", { body: Uint8Array.of(0xff) }));
    expect(await codeOf(retry("d1"))).toBe("STORE_CORRUPT");
    expect(await codeOf(retry("d2"))).toBe("DEAD_LETTER_NOT_FOUND");
    expect(bench.deliveries).toEqual([]);
  });

  it("are dropped for good, once", async () => {
    bench.letters.set("d1", letter("d1"));
    const drop = () => bench.calls.dropDeadLetter(of(DropDeadLetterRequestSchema, { deadLetterId: "d1" }), call());
    await drop();
    expect(await codeOf(drop())).toBe("DEAD_LETTER_NOT_FOUND");
  });
});

describe("ReleaseAgent", () => {
  it("lets the agent work again", async () => {
    await bench.calls.releaseAgent(of(ReleaseAgentRequestSchema, { agentId: AGENT }), call());
    expect(bench.released).toEqual([AGENT]);
    expect(wrongFields(await refusal(bench.calls.releaseAgent(of(ReleaseAgentRequestSchema, {}), call())))).toEqual(["agent_id"]);
  });
});
