import { expect, it } from "vitest";
import type { AgentHouse } from "../../../runtime/agent/index.ts";
import type { ContextStatus } from "../../../runtime/session/context/index.ts";
import { healthOf } from "../../../runtime/hypervisor/host-health.ts";

const GOOD = { ok: true, message: "", tookMs: 1 };
const PARTS = {
  bus: { status: "connected" },
  context: { status: "in-process" },
  events: null,
  pool: { shards: [{}], instances: 2 },
  modules: { list: () => [{ name: "aws", active: {}, lastError: null }] },
} as unknown as Parameters<typeof healthOf>[1];

const one = (id: string, kind: string, message: string | null = null) => ({ id, phase: { kind, reason: "" }, ownHealth: message === null ? null : { health: "degraded", message } });

function agents(...residents: readonly ReturnType<typeof one>[]) {
  const house = { count: 10, residentCount: residents.length, residents: () => residents } as unknown as AgentHouse;
  return healthOf({ guest: GOOD, store: GOOD, at: 0 }, PARTS, house)["agents"];
}

it("agents are healthy while those in memory are", () => {
  expect(agents(one("a", "ready"), one("b", "busy"))).toEqual({
    status: "healthy",
    message: "10 agents",
    details: { agents: "10", resident: "2", restarting: "0", quarantined: "0", unwell: "0" },
  });
});

it("tells of those that failed, and of those that are not well by their own word", () => {
  const reading = agents(one("a", "restarting"), one("b", "quarantined", "never mind"), one("c", "ready", "x".repeat(1_000)), one("d", "ready", ""));
  expect(reading).toMatchObject({ status: "degraded", details: { restarting: "1", quarantined: "1", unwell: "2" } });
  expect(reading?.message).toBe(`2 of 10 agents are in ERROR; 2 are not well by their own word; agent c says: ${"x".repeat(200)}`);
  expect(agents(one("d", "ready", ""))?.message).toBe("1 are not well by their own word; agent d says: degraded");
});

it("tells of Redis where there is one: without it a host is less well, and serves", () => {
  const house = { count: 0, residentCount: 0, residents: () => [] } as unknown as AgentHouse;
  const context = (status: ContextStatus) => healthOf({ guest: GOOD, store: GOOD, at: 0 }, { ...PARTS, context: { status, reason: "no route", counts: { unanswered: 3, dropped: 2 } } }, house)["context"];
  expect(context("in-process")).toBeUndefined();
  expect(context("connected")).toEqual({ status: "healthy", message: "connected", details: { unanswered: "3", dropped: "2" } });
  expect(context("away")).toMatchObject({ status: "degraded", message: expect.stringContaining("out of reach (no route)") });
});

it("tells of a fleet's events: unless they are kept a host is less well, and serves", () => {
  const house = { count: 0, residentCount: 0, residents: () => [] } as unknown as AgentHouse;
  const counts = { appended: 0, repeated: 0, lost: 0, waiting: 0 };
  const events = (of: Parameters<typeof healthOf>[1]["events"]) => healthOf({ guest: GOOD, store: GOOD, at: 0 }, { ...PARTS, events: of }, house)["events"];
  expect(events(null)).toBeUndefined();
  expect(events({ state: { kind: "open", name: "s", replicas: 1 }, counts })).toMatchObject({ status: "healthy", message: "kept in JetStream" });
  expect(events({ state: { kind: "unusable", reason: "the server has none" }, counts })).toMatchObject({ status: "degraded", message: "events are not kept in JetStream: the server has none; they go to those who follow at the time" });
});
