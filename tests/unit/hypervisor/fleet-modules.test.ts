import { create } from "@bufbuild/protobuf";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ModuleQuestionSchema } from "../../../runtime/contract/gen/sirsi/fleet/v1/fleet_pb.ts";
import { Deferred } from "../../../runtime/core/deferred.ts";
import { SirsiError } from "../../../runtime/core/errors.ts";
import { build, digest, type FakeHost, FleetRig } from "../../support/fleet-modules-rig.ts";

let rig: FleetRig;
beforeEach(() => {
  rig = new FleetRig();
});
afterEach(() => rig[Symbol.asyncDispose]());

const soon = (look: () => void) => vi.waitFor(look, { interval: 1 });
/** Time passes until it is so. */
const later = (look: () => void) =>
  vi.waitFor(
    () => {
      rig.clock.advance(1_000);
      look();
    },
    { interval: 1 },
  );
const versions = (hosts: readonly FakeHost[]) => hosts.map((host) => host.version());
const row = (module = "m") => {
  const found = rig.table.rows.get(module);
  return found === undefined ? undefined : { digest: found.digest, generation: found.generation, changedBy: found.changedBy };
};
/** Whether the roll-out that this host began has ended. */
const rolling = async (host: FakeHost) => (await host.modules.answer(create(ModuleQuestionSchema, { module: "m", look: true }))).rolling;
const ended = (host: FakeHost) => vi.waitFor(async () => expect(await rolling(host)).toBe(false), { interval: 1 });

describe("a module that is changed on one host of a fleet", () => {
  it("is the fleet's when it was kept there, and goes to the others in turn, by name", async () => {
    const [a, b, c] = (await rig.fleet("abc", "1.0.0")) as [FakeHost, FakeHost, FakeHost];
    await b.install("2.0.0");
    await soon(() => expect(versions([a, b, c])).toEqual(["2.0.0", "2.0.0", "2.0.0"]));
    await ended(b);
    expect(rig.asked).toEqual(["b asks a: 2.0.0", "b asks c: 2.0.0"]);
    expect(row()).toEqual({ digest: digest("2.0.0"), generation: 2, changedBy: "b" });
    expect(rig.table.rows.get("m")).toMatchObject({ file: "m.wasm", version: "2.0.0" });
    expect([a.swapRecords, c.swapRecords].flat().map(({ canaryPercent, watchMs, state }) => [canaryPercent, watchMs, state])).toEqual([[34, 7, "KEPT"], [34, 7, "KEPT"]]);
  });

  it("is tried by one host at a time, and the others wait for their turn (F3)", async () => {
    const [a, b, c] = (await rig.fleet("abc", "1.0.0")) as [FakeHost, FakeHost, FakeHost];
    const gate = new Deferred<void>();
    b.gates.set("2.0.0", gate);
    await a.install("2.0.0");
    await soon(() => expect(b.tried).toEqual(["2.0.0"]));
    await later(() => expect(rig.asked.length).toBeGreaterThan(4)); // b says so often that it is under way
    rig.clock.advance(20_000); // c looks by itself
    expect([c.tried, b.version(), c.version()]).toEqual([[], "1.0.0", "1.0.0"]);
    gate.resolve();
    await soon(() => expect(versions([a, b, c])).toEqual(["2.0.0", "2.0.0", "2.0.0"]));
    expect(b.tried).toEqual(["2.0.0"]);
  });

  it("S4 goes back everywhere when one host does not keep it, and says why", async () => {
    const [a, b, c, d] = (await rig.fleet("abcd", "1.0.0")) as [FakeHost, FakeHost, FakeHost, FakeHost];
    c.fates.set("2.0.0", "revert");
    await a.install("2.0.0");
    await soon(() => expect(row()).toEqual({ digest: digest("1.0.0"), generation: 3, changedBy: "a" }));
    await ended(a);
    expect(versions([a, b, c, d])).toEqual(["1.0.0", "1.0.0", "1.0.0", "1.0.0"]);
    expect(d.tried).toEqual([]);
    for (const host of [a, b]) {
      expect(host.swapRecords.at(-1)).toMatchObject({ state: "REVERTED", reason: "host c did not keep it: 2.0.0 trapped" });
      expect(host.error()).toBe("host c did not keep it: 2.0.0 trapped");
    }
    expect(rig.asked.slice(-3)).toEqual(["a asks b: back to 1.0.0", "a asks c: back to 1.0.0", "a asks d: back to 1.0.0"]);
    rig.clock.advance(20_000);
    await soon(() => expect(row()?.generation).toBe(3));
    expect([b.tried, c.tried]).toEqual([["2.0.0"], ["2.0.0"]]);
  });

  it("is removed everywhere when one host refuses its first revision", async () => {
    const [a, b, c] = (await rig.fleet("abc", "1.0.0")) as [FakeHost, FakeHost, FakeHost];
    c.fates.set("1.0.1", "reject");
    await a.install("1.0.1", "new");
    await soon(() => expect(row("new")).toEqual({ digest: null, generation: 2, changedBy: "a" }));
    await soon(() => expect([a, b, c].map((host) => host.version("new"))).toEqual([null, null, null]));
    await soon(() => expect(b.error("new")).toBe("its first revision was not kept: host c did not keep it: 1.0.1 is not admitted on c; install a better one"));
    expect(a.error("new")).toContain("host c did not keep it");
  });

  it("S5 stops where a host waits for approval, says so, and goes on when that is given", async () => {
    const [a, b, c] = (await rig.fleet("abc", "1.0.0")) as [FakeHost, FakeHost, FakeHost];
    b.fates.set("2.0.0", "pending");
    await a.install("2.0.0");
    const said = `revision ${digest("2.0.0").slice(0, 12)} serves here, and its roll-out to the other hosts waits: host b has it wait: 2.0.0 asks for more than b grants`;
    await soon(() => expect(a.error()).toBe(said));
    rig.clock.advance(9_000);
    expect([versions([a, b, c]), row()?.generation]).toEqual([["2.0.0", "1.0.0", "1.0.0"], 2]);
    b.fates.set("2.0.0", "keep");
    await later(() => expect(versions([a, b, c])).toEqual(["2.0.0", "2.0.0", "2.0.0"]));
    await soon(() => expect(a.error()).toBe(""));
  });

  it("passes over a host that cannot be reached, which takes it at its next look", async () => {
    const [a, b, c] = (await rig.fleet("abc", "1.0.0")) as [FakeHost, FakeHost, FakeHost];
    b.cut = true;
    await a.install("2.0.0");
    await later(() => expect([a.version(), c.version()]).toEqual(["2.0.0", "2.0.0"]));
    b.cut = false;
    await later(() => expect(b.version()).toBe("2.0.0"));
    expect(rig.asked).toEqual(["a asks c: 2.0.0"]);
  });

  it("goes to the others by the fleet's row alone when the host that rolled it out dies", async () => {
    const [a, b, c, d] = (await rig.fleet("abcd", "1.0.0")) as [FakeHost, FakeHost, FakeHost, FakeHost];
    const gate = new Deferred<void>();
    b.gates.set("2.0.0", gate);
    await a.install("2.0.0");
    await soon(() => expect(b.tried).toEqual(["2.0.0"]));
    rig.die(a);
    await soon(() => expect(versions([c, d])).toEqual(["2.0.0", "2.0.0"]));
    gate.resolve();
    await soon(() => expect(b.version()).toBe("2.0.0"));
    expect(row()).toEqual({ digest: digest("2.0.0"), generation: 2, changedBy: "a" });
  });

  it("stays where it is when a host does not keep it that nobody asked, and that host says so", async () => {
    const [a, b] = (await rig.fleet("ab", "1.0.0")) as [FakeHost, FakeHost];
    b.cut = true;
    b.fates.set("2.0.0", "revert");
    await a.install("2.0.0");
    await soon(() => expect(row()?.generation).toBe(2));
    await vi.waitFor(async () => {
      rig.clock.advance(1_000);
      expect(await rolling(a)).toBe(false);
    }, { interval: 1 });
    b.cut = false;
    await later(() => expect(b.tried).toEqual(["2.0.0"]));
    await soon(() => expect(b.error()).toBe("2.0.0 trapped"));
    rig.clock.advance(60_000);
    expect(await a.modules.describe()).toMatchObject([{ module: "m", digest: digest("2.0.0"), version: "2.0.0", generation: 2, differingHosts: ["b"] }]);
    expect([b.tried, b.version(), a.version()]).toEqual([["2.0.0"], "1.0.0", "2.0.0"]);
  });

  it("gives way to what another host made the fleet's at the same time (F2)", async () => {
    const [a, b, c] = (await rig.fleet("abc", "1.0.0")) as [FakeHost, FakeHost, FakeHost];
    await Promise.all([a.install("2.0.0"), b.install("3.0.0")]);
    await soon(() => expect(new Set(versions([a, b, c])).size).toBe(1));
    await soon(() => expect(row()?.generation).toBe(2));
    expect(a.version()).toBe(row()?.digest === digest("2.0.0") ? "2.0.0" : "3.0.0");
  });

  it("takes the place of one that is being rolled out, also when it is changed on a host that is trying that", async () => {
    const [a, b, c] = (await rig.fleet("abc", "1.0.0")) as [FakeHost, FakeHost, FakeHost];
    await a.install("2.0.0");
    await soon(() => expect(b.version()).toBe("2.0.0"));
    await b.install("3.0.0");
    await soon(() => expect(versions([a, b, c])).toEqual(["3.0.0", "3.0.0", "3.0.0"]));
    expect(row()).toEqual({ digest: digest("3.0.0"), generation: 3, changedBy: "b" });
  });

  it("is removed everywhere when it is removed on one host, and comes back", async () => {
    const [a, b, c] = (await rig.fleet("abc", "1.0.0")) as [FakeHost, FakeHost, FakeHost];
    await c.remove();
    await soon(() => expect(versions([a, b, c])).toEqual([null, null, null]));
    expect(row()).toEqual({ digest: null, generation: 2, changedBy: "c" });
    await a.install("1.0.0");
    await soon(() => expect(versions([a, b, c])).toEqual(["1.0.0", "1.0.0", "1.0.0"]));
  });

  it("is not the fleet's when the host where it came did not keep it", async () => {
    const [a, b] = (await rig.fleet("ab", "1.0.0")) as [FakeHost, FakeHost];
    a.fates.set("2.0.0", "revert");
    await a.install("2.0.0");
    rig.clock.advance(20_000);
    await soon(() => expect(a.error()).toBe("2.0.0 trapped"));
    expect([row()?.generation, b.version(), rig.asked]).toEqual([1, "1.0.0", []]);
  });

  it("is written again later when the store could not take it", async () => {
    const [a, b] = (await rig.fleet("ab", "1.0.0")) as [FakeHost, FakeHost];
    const gate = new Deferred<void>();
    a.gates.set("2.0.0", gate);
    const installing = a.install("2.0.0");
    rig.table.failure = new SirsiError("STORE_UNAVAILABLE", "gone");
    gate.resolve();
    await installing;
    expect([a.version(), row()?.generation]).toEqual(["2.0.0", 1]);
    rig.table.failure = null;
    await later(() => expect(b.version()).toBe("2.0.0"));
  });
});

describe("a host that joins", () => {
  it("makes its modules the fleet's when there is none", async () => {
    const a = await rig.join(rig.host("a").has("1.0.0").has("4.0.0", "other"));
    expect([row(), row("other")]).toEqual([{ digest: digest("1.0.0"), generation: 1, changedBy: "a" }, { digest: digest("4.0.0", "other"), generation: 1, changedBy: "a" }]);
    expect(rig.table.bytes.get(digest("1.0.0"))).toEqual(build("1.0.0"));
    expect(a.version()).toBe("1.0.0");
  });

  it("F5 has the fleet's revisions when it has joined: other files are replaced, removed modules go, unknown ones become the fleet's", async () => {
    const [a] = (await rig.fleet("a", "1.0.0")) as [FakeHost];
    await a.install("1.0.0", "gone");
    await soon(() => expect(row("gone")?.generation).toBe(1));
    await a.remove("gone");
    await soon(() => expect(row("gone")?.digest).toBeNull());
    await a.install("7.0.0", "only-there");
    await soon(() => expect(row("only-there")?.generation).toBe(1));
    const b = await rig.join(rig.host("b").has("9.0.0").has("1.0.0", "gone").has("1.0.0", "only-here"));
    expect(["m", "gone", "only-there", "only-here"].map((module) => b.version(module))).toEqual(["1.0.0", null, "7.0.0", "1.0.0"]);
    await soon(() => expect(a.version("only-here")).toBe("1.0.0"));
    expect([row()?.generation, a.version()]).toEqual([1, "1.0.0"]);
  });

  it("joins although it cannot run one of the fleet's modules, and is told of as differing", async () => {
    const [a] = (await rig.fleet("a", "1.0.0")) as [FakeHost];
    const b = rig.host("b");
    b.fates.set("1.0.0", "reject");
    await rig.join(b);
    expect(b.version()).toBeNull();
    expect(await a.modules.describe()).toMatchObject([{ module: "m", differingHosts: ["b"] }]);
    expect(row()?.generation).toBe(1);
  });

  it("asks itself no more than now and then whether it may run by now what has to wait there", async () => {
    await rig.fleet("a", "1.0.0");
    const b = rig.host("b");
    b.fates.set("1.0.0", "pending");
    await rig.join(b);
    expect([b.version(), b.installs]).toEqual([null, 2]);
    b.fates.set("1.0.0", "keep");
    await later(() => expect(b.version()).toBe("1.0.0"));
    expect(b.installs).toBe(3);
  });

  it("does not join while the store cannot tell what the fleet runs", async () => {
    rig.table.failure = new SirsiError("STORE_UNAVAILABLE", "gone");
    await expect(rig.join(rig.host("a"))).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
  });

  it("takes the fleet's again when it joins anew, whatever it has become meanwhile", async () => {
    const [a, b] = (await rig.fleet("ab", "1.0.0")) as [FakeHost, FakeHost];
    rig.die(b);
    await a.install("2.0.0");
    await soon(() => expect(row()?.generation).toBe(2));
    b.has("8.0.0");
    b.cut = false;
    await rig.join(b);
    expect(b.version()).toBe("2.0.0");
  });
});

describe("where agents belong while hosts differ", () => {
  it("is the active revision for every agent until all hosts have it, and then for those made before that", async () => {
    const [a, b, c] = (await rig.fleet("abc", "1.0.0")) as [FakeHost, FakeHost, FakeHost];
    const since = (host: FakeHost) => host.since("m", digest("2.0.0"));
    b.fates.set("2.0.0", "pending");
    await a.install("2.0.0");
    await soon(() => expect(a.error()).toContain("waits"));
    expect([since(a), c.since("m", digest("1.0.0"))]).toEqual([Infinity, null]);
    b.fates.set("2.0.0", "keep");
    await later(() => expect(c.version()).toBe("2.0.0"));
    await soon(() => expect([a, b, c].map((host) => Number.isFinite(since(host)))).toEqual([true, true, true]));
    expect(since(a)).toBeGreaterThan(rig.table.rows.get("m")!.changedAt);
  });

  it("counts from when the fleet changed, for a host that joined later", async () => {
    await rig.fleet("a", "1.0.0");
    rig.clock.advance(5_000);
    const b = await rig.join(rig.host("b"));
    expect(b.since("m", digest("1.0.0"))).toBe(rig.table.rows.get("m")!.changedAt);
  });
});

describe("what is told of other hosts", () => {
  it("to whoever installs, is who takes it next; nothing when there are none", async () => {
    const [a] = (await rig.fleet("a", "1.0.0")) as [FakeHost];
    expect(a.modules.saysOfOthers()).toBe("");
    await rig.join(rig.host("b"));
    expect(a.modules.saysOfOthers()).toMatch(/^when it is kept here the other hosts take it in turn \(b\)/);
  });

  it("leaves out those that cannot be asked", async () => {
    const [a, b] = (await rig.fleet("ab", "1.0.0")) as [FakeHost, FakeHost];
    b.cut = true;
    expect(await a.modules.describe()).toMatchObject([{ module: "m", differingHosts: [] }]);
  });

  it("refuses to act on what is not the fleet's any more", async () => {
    const [a] = (await rig.fleet("a", "1.0.0")) as [FakeHost];
    const answer = await a.modules.answer(create(ModuleQuestionSchema, { module: "m", digest: digest("5.0.0") }));
    expect(answer).toMatchObject({ waits: "the fleet runs another revision by now", activeDigest: digest("1.0.0"), refused: "" });
  });
});
