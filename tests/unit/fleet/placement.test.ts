import { describe, expect, test } from "vitest";
import { ANYWHERE, place, ranked } from "../../../runtime/fleet/placement.ts";
import type { HostEntry } from "../../../runtime/store/fleet-store.ts";

function host(name: string, changes: Partial<HostEntry> = {}): HostEntry {
  return { hostId: `id-${name}`, name, zone: "", labels: {}, grpcAddress: "", httpAddress: "", version: "1", capacity: 1_000, state: "active", load: { resident: 0, residentBytes: 0, cpu: 0 }, joinedAt: 0, leaseLeftMs: 3_000, ...changes };
}

const KEYS = Array.from({ length: 3_000 }, (_, at) => `agent-${at}`);

function shares(hosts: readonly HostEntry[], keys = KEYS): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const key of keys) {
    const { name } = place(key, hosts, ANYWHERE) ?? { name: "nobody" };
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}

describe("placement", () => {
  test("spreads evenly over equal hosts", () => {
    for (const count of Object.values(shares([host("a"), host("b"), host("c")]))) expect(Math.abs(count - 1_000)).toBeLessThan(150);
  });

  test("is the same whatever the order in which hosts are seen", () => {
    const hosts = [host("a"), host("b"), host("c")];
    for (const key of KEYS.slice(0, 200)) expect(place(key, hosts.toReversed(), ANYWHERE)).toEqual(place(key, hosts, ANYWHERE));
  });

  test("a host that goes moves its own agents alone; one that comes takes only its share", () => {
    const all = [host("a"), host("b"), host("c")];
    const before = KEYS.map((key) => place(key, all, ANYWHERE)?.name);
    const after = KEYS.map((key) => place(key, all.slice(0, 2), ANYWHERE)?.name);
    for (const [at, name] of before.entries()) if (name !== "c") expect(after[at]).toBe(name);
  });

  test("a host that is fuller than the others gets less, and one that is full still some", () => {
    const { a = 0, b = 0 } = shares([host("a", { load: { resident: 750, residentBytes: 0, cpu: 0 } }), host("b")]);
    expect(a).toBeLessThan(b / 2);
    expect(shares([host("a", { load: { resident: 5_000, residentBytes: 0, cpu: 0 } }), host("b")])["a"]).toBeGreaterThan(50);
  });

  test("a host with twice the capacity gets about twice as much", () => {
    const { a = 0, b = 0 } = shares([host("a", { capacity: 2_000 }), host("b")]);
    expect(a / b).toBeGreaterThan(1.6);
    expect(a / b).toBeLessThan(2.5);
  });

  test.each(["joining", "draining", "drained"] as const)("a host that is %s gets nothing", (state) => {
    expect(shares([host("a", { state }), host("b")])).toEqual({ b: KEYS.length });
    expect(place("agent", [host("a", { state })], ANYWHERE)).toBeNull();
  });

  test("goes to hosts with the labels and the zone that the module asks for, and anywhere when none has them", () => {
    const hosts = [host("a", { labels: { gpu: "yes" } }), host("b", { zone: "north" }), host("c", { labels: { gpu: "yes" }, zone: "north" })];
    const names = (labels: Readonly<Record<string, string>>) => new Set(KEYS.slice(0, 300).map((key) => place(key, hosts, { labels })?.name));
    expect(names({ gpu: "yes" })).toEqual(new Set(["a", "c"]));
    expect(names({ gpu: "yes", zone: "north" })).toEqual(new Set(["c"]));
    expect(names({ gpu: "no" })).toEqual(new Set(["a", "b", "c"]));
  });

  test("ranks every host that takes agents, the placed one first", () => {
    const hosts = [host("a"), host("b"), host("c"), host("d", { state: "draining" })];
    const order = ranked("agent", hosts, ANYWHERE).map(({ name }) => name);
    expect(order.toSorted()).toEqual(["a", "b", "c"]);
    expect(order[0]).toBe(place("agent", hosts, ANYWHERE)?.name);
  });
});
