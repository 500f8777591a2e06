import { describe, expect, it } from "vitest";
import type { HostEvent } from "../../../runtime/agent/index.ts";
import { FAULTS_MIN, OF_ALL, OF_CANARIES, RevisionHealth, type Tally, verdictOn } from "../../../runtime/hypervisor/swap/health.ts";
import { newSwap, remembered, SWAP_REASONS } from "../../../runtime/hypervisor/swap/swap-record.ts";
import type { AgentRecord, SwapRecord } from "../../../runtime/store/store.ts";

const tally = (steps: number, faults: number, changes: Partial<Tally> = {}): Tally => ({ steps, faults, quarantined: 0, lastFault: "", ...changes });

describe("the rule by which a revision is not kept", () => {
  it.each([
    ["few faults, whatever their share", tally(4, FAULTS_MIN - 1), tally(100, 0), 0, ""],
    ["many faults, and a small share", tally(1_000, 20), tally(100, 0), 0, ""],
    ["many, and more than 2 %", tally(1_000, 21), tally(100, 0), 0, "21 of 1000 steps on the new revision failed, more than the 2.0 % allowed"],
    ["many, but no more than three times as many as before", tally(100, 30), tally(100, 10), 0, ""],
    ["more than that", tally(100, 31), tally(100, 10), 0, "31 of 100 steps on the new revision failed, more than the 30.0 % allowed"],
    ["agents that it would not take over", tally(0, 0), tally(100, 0), 5, "5 of 5 steps"],
    ["an agent that was set aside", tally(1_000, 1, { quarantined: 1, lastFault: "divided by zero" }), tally(0, 0), 0, "an agent of the new revision failed too often and had to be set aside; the last one: divided by zero"],
    ["several", tally(1_000, 1, { quarantined: 3 }), tally(0, 0), 0, "3 agents of the new revision"],
  ])("with %s", (_what, now, before, refused, reason) => {
    const found = verdictOn(now, before, refused, OF_ALL);
    if (reason === "") expect(found).toBe("");
    else expect(found).toContain(reason);
  });

  it("is stricter with canaries: one fault is enough where there were none, and not where they are common", () => {
    expect(verdictOn(tally(50, 1), tally(1_000, 0), 0, OF_CANARIES)).toContain("1 of 50 steps");
    expect(verdictOn(tally(50, 1), tally(1_000, 10), 0, OF_CANARIES)).toBe("");
    expect(verdictOn(tally(50, 0), tally(1_000, 0), 0, OF_CANARIES)).toBe("");
  });
});

describe("what is counted", () => {
  const records = new Map<string, Pick<AgentRecord, "digest">>([["a", { digest: "one" }], ["b", { digest: "two" }]]);
  const open = (quarantined = "") =>
    new RevisionHealth({ recordOf: (agentId) => (agentId === "asleep" ? Promise.resolve(null) : ((records.get(agentId) as AgentRecord | undefined) ?? null)), isQuarantined: (agentId) => agentId === quarantined });
  const event = (type: string, sourceAgentId: string, targetAgentId: string, attributes: Record<string, string> = {}): HostEvent => ({ type, sessionId: "s", sourceAgentId, targetAgentId, payload: null, topic: "", attributes, traceparent: "" });

  it("steps by the revision of their agent, and guest faults; an answer with an error is none", () => {
    const health = open();
    for (const agent of ["a", "a", "b", "asleep", "gone"]) health.notice(event("MESSAGE_RECEIVED", "", agent));
    health.notice(event("ERROR_OCCURRED", "a", "", { reason: "GUEST_TRAP", message: "it trapped" }));
    for (const reason of ["GUEST_ERROR", "STORE_UNAVAILABLE", "DEADLINE_EXCEEDED"]) health.notice(event("ERROR_OCCURRED", "a", "", { reason, message: "no" }));
    health.notice(event("ERROR_OCCURRED", "a", "b", { reason: "GUEST_TRAP", message: "a message of a's ended b" }));
    expect([health.tallyOf("one"), health.tallyOf("two"), health.tallyOf("three")]).toEqual([tally(2, 1, { lastFault: "it trapped" }), tally(1, 0), tally(0, 0)]);
  });

  it("agents that were set aside, not those that are started again; and tells who listens", () => {
    const health = open("b");
    const told: string[] = [];
    const off = health.onBad((digest) => told.push(digest));
    health.notice(event("STATUS_CHANGED", "a", "", { to: "ERROR" }));
    health.notice(event("STATUS_CHANGED", "b", "", { to: "ERROR" }));
    health.notice(event("STATUS_CHANGED", "b", "", { to: "READY" }));
    off();
    health.notice(event("ERROR_OCCURRED", "a", "", { reason: "GUEST_LIMIT", message: "" }));
    expect([health.tallyOf("two").quarantined, told]).toEqual([1, ["two"]]);
    health.begin("two");
    expect(health.tallyOf("two")).toEqual(tally(0, 0));
  });
});

describe("what is remembered of a revision", () => {
  const plan = { swapId: "s", module: "m", fromDigest: "old", toDigest: "new", canaryPercent: 10, watchMs: 1 };
  const ended = (state: SwapRecord["state"], reason = ""): SwapRecord => ({ ...newSwap(plan, 1), state, reason });

  it.each([
    ["its last swap was rejected", [ended("REJECTED", "load() trapped")], "load() trapped"],
    ["its last swap was reverted", [ended("DRY_RUN", "no"), ended("REVERTED", "too many faults"), ended("KEPT")], "too many faults"],
    ["it was kept since", [ended("KEPT"), ended("REJECTED", "load() trapped")], ""],
    ["the host stopped", [ended("REJECTED", SWAP_REASONS.hostStopped)], ""],
    ["the host failed", [ended("REJECTED", `${SWAP_REASONS.hostFailed}the disk is full`)], ""],
    ["another came", [ended("REJECTED", SWAP_REASONS.superseded)], ""],
    ["it goes on", [ended("WATCHING")], ""],
    ["there is none", [], ""],
  ] as const)("when %s", (_what, swaps, reason) => {
    expect(remembered(swaps, "new")).toBe(reason);
    expect(remembered(swaps, "other")).toBe("");
  });
});
