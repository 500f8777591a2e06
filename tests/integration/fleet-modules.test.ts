/** Modules of a fleet on real registries, swaps and agents. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { SwapState } from "../../runtime/contract/gen/sirsi/hypervisor/v1/hypervisor_service_pb.ts";
import { digestOf } from "../../runtime/module/inspect.ts";
import type { FleetStore } from "../../runtime/store/fleet-store.ts";
import { FleetHosts, hostIdOf } from "../support/fleet-host.ts";
import { PostgresServer } from "../support/postgres-server.ts";
import { mischief } from "../support/swap-rig.ts";

let fleet: FleetHosts;
beforeEach(() => {
  fleet = new FleetHosts();
});
afterEach(() => fleet[Symbol.asyncDispose]());

const soon = (look: () => void | Promise<void>) => vi.waitFor(look, { timeout: 20_000, interval: 10 });
const row = () => fleet.table.rows.get("mischief");

describe("a module of a fleet", () => {
  test("S1 S2 reaches every host with its agents' state, tried on each host's own, and goes back by rollback", async () => {
    const v1 = await mischief("1.0.0");
    const v2 = await mischief("2.0.0");
    const a = await fleet.start("a", { files: { "mischief.wasm": v1 } });
    const b = await fleet.start("b");
    expect([b.version("mischief"), digestOf(b.file("mischief.wasm"))]).toEqual(["1.0.0", digestOf(v1)]);
    const [one, other] = [await a.spawn("mischief"), await b.spawn("mischief")];
    await Promise.all([a.say(one, "add 5"), b.say(other, "add 7")]);
    const summary = await a.install(v2);
    expect(summary).toMatchObject({ moved: 1, failed: 0, rollOut: expect.stringContaining("the other hosts take it in turn (b)") as string });
    await soon(() => expect([b.version("mischief"), digestOf(b.file("mischief.wasm"))]).toEqual(["2.0.0", digestOf(v2)]));
    await soon(async () => expect([await a.versionOf(one), await b.versionOf(other)]).toEqual(["2.0.0", "2.0.0"]));
    expect(await Promise.all([a.say(one, "total"), b.say(other, "total")])).toEqual(["5", "7"]);
    await soon(async () => expect((await b.store.listSwaps("mischief", 9)).map(({ state, moved }) => [state, moved])).toEqual([["KEPT", 1]]));
    await b.rollback("mischief");
    await soon(async () => expect([await a.versionOf(one), await b.versionOf(other)]).toEqual(["1.0.0", "1.0.0"]));
    expect(await Promise.all([a.say(one, "total"), b.say(other, "total")])).toEqual(["5", "7"]);
    expect(row()).toMatchObject({ generation: 3, changedBy: "b", digest: digestOf(v1) });
  });

  test("S4 that one host does not keep goes back on all, agents with what they did meanwhile, over a restart too", async () => {
    const v1 = await mischief("1.0.0");
    const a = await fleet.start("a", { files: { "mischief.wasm": v1 } });
    const b = await fleet.start("b");
    const c = await fleet.start("c", { limitsMax: { fuelPerStep: 30_000_000 } });
    const agents = [await a.spawn("mischief"), await b.spawn("mischief")] as const;
    await Promise.all([a.say(agents[0], "add 5"), b.say(agents[1], "add 7")]);
    const greedy = await mischief("2.0.0", {}, { limits: { fuelPerStep: 40_000_000 } });
    await a.install(greedy);
    await soon(() => expect(row()?.generation).toBe(3));
    await soon(async () => expect([await a.versionOf(agents[0]), await b.versionOf(agents[1]), c.version("mischief")]).toEqual(["1.0.0", "1.0.0", "1.0.0"]));
    expect(await Promise.all([a.say(agents[0], "add 1"), b.say(agents[1], "add 1")])).toEqual(["6", "8"]);
    for (const host of [a, b]) {
      const [newest] = await host.store.listSwaps("mischief", 1);
      expect(newest).toMatchObject({ state: "REVERTED", reverted: 1, toDigest: digestOf(greedy), reason: expect.stringMatching(/^host c did not keep it: .*fuel/i) as string });
      expect(host.modules.get("mischief").lastError?.message).toContain("host c did not keep it");
    }
    await fleet.stop(b);
    const again = await fleet.start("b");
    expect([again.version("mischief"), await again.say(agents[1], "total")]).toEqual(["1.0.0", "8"]);
    expect(row()?.generation).toBe(3);
  });

  test("S5 waits where it is not granted, and goes on when it is", async () => {
    const a = await fleet.start("a", { files: { "mischief.wasm": await mischief("1.0.0") } });
    const b = await fleet.start("b");
    const strict = await fleet.start("strict", { grants: [] });
    expect(strict.version("mischief")).toBeNull();
    expect((await a.fleetModules.describe())[0]).toMatchObject({ module: "mischief", differingHosts: ["strict"] });
    await a.install(await mischief("2.0.0"));
    await soon(() => expect(b.version("mischief")).toBe("2.0.0"));
    await soon(() => expect(a.modules.get("mischief").lastError?.message).toContain("host strict has it wait"));
    await fleet.stop(strict);
    const granted = await fleet.start("strict");
    expect([granted.version("mischief"), a.version("mischief")]).toEqual(["2.0.0", "2.0.0"]);
  });

  test("F5 a host that joins has the fleet's, whatever its files hold, and swaps to nothing else", async () => {
    const v1 = await mischief("1.0.0");
    await fleet.start("a", { files: { "mischief.wasm": v1 } });
    const b = await fleet.start("b", { files: { "mischief.wasm": await mischief("3.0.0") } });
    expect([b.version("mischief"), digestOf(b.file("mischief.wasm")), row()?.generation]).toEqual(["1.0.0", digestOf(v1), 1]);
    await fleet.stop(b);
    const again = await fleet.start("b", { files: { "mischief.wasm": await mischief("4.0.0") } });
    await soon(() => expect(again.swaps.trying("mischief")).toBeNull());
    expect([again.version("mischief"), digestOf(again.file("mischief.wasm")), row()?.generation]).toEqual(["1.0.0", digestOf(v1), 1]);
  });

  test("F4 is not the fleet's while it is watched, also when the host stops meanwhile; the fleet's is back when it starts", async () => {
    const a = await fleet.start("a", { files: { "mischief.wasm": await mischief("1.0.0") } });
    const over: string[] = [];
    a.swaps.onOver(({ state }) => void over.push(state));
    await a.spawn("mischief");
    const v2 = await mischief("2.0.0");
    expect(await a.install(v2, 3_600_000)).toMatchObject({ state: SwapState.WATCHING });
    await a.swaps.close();
    expect([a.swaps.trying("mischief"), over]).toEqual([digestOf(v2), []]);
    await fleet.stop(a);
    expect(row()?.generation).toBe(1);
    const again = await fleet.start("a");
    expect([again.version("mischief"), row()?.generation]).toEqual(["1.0.0", 1]);
  });

  test("that is not kept on the host where it came never reaches another", async () => {
    const a = await fleet.start("a", { files: { "mischief.wasm": await mischief("1.0.0") } });
    const b = await fleet.start("b");
    await a.say(await a.spawn("mischief"), "add 1");
    expect(await a.install(await mischief("2.0.0", { on_load: "divide 0" }))).toMatchObject({ state: SwapState.REJECTED, rollOut: "" });
    expect([a.version("mischief"), b.version("mischief"), row()?.generation]).toEqual(["1.0.0", "1.0.0", 1]);
  });
});

describe("a module of a fleet on one database", () => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await PostgresServer.start();
  }, 60_000);
  afterAll(() => server.stop());

  test("S2 S6 finds its agents wherever they come to memory: each moves to the revision that its new host has active", async () => {
    const database = await server.newDatabase();
    fleet = new FleetHosts(() => server.open(database));
    const v1 = await mischief("1.0.0");
    const v2 = await mischief("2.0.0");
    const a = await fleet.start("a", { files: { "mischief.wasm": v1 } });
    const b = await fleet.start("b");
    expect([b.version("mischief"), digestOf(b.file("mischief.wasm"))]).toEqual(["1.0.0", digestOf(v1)]);
    const goes = await b.spawn("mischief");
    await b.say(goes, "add 7");
    fleet.hosts.delete("b"); // nobody sees it now, so it stays behind
    await a.install(v2);
    const [storeA, storeB] = [a.store as FleetStore, b.store as FleetStore];
    await soon(async () => expect(await storeA.listFleetModules()).toMatchObject([{ module: "mischief", digest: digestOf(v2), generation: 2, changedBy: "a" }]));
    const comes = await a.spawn("mischief");
    await a.say(comes, "add 3");
    expect([await storeB.giveAgents([goes], hostIdOf("a")), await storeA.giveAgents([comes], hostIdOf("b"))]).toEqual([[goes], [comes]]);
    expect([await a.say(goes, "total"), await b.say(comes, "total")]).toEqual(["7", "3"]);
    await soon(async () => expect([await a.versionOf(goes), await b.versionOf(comes)]).toEqual(["2.0.0", "1.0.0"]));
    expect([await a.say(goes, "total"), await b.say(comes, "total")]).toEqual(["7", "3"]);
    fleet.hosts.set("b", b);
    expect(await a.fleetModules.describe()).toEqual([{ module: "mischief", digest: digestOf(v2), version: "2.0.0", generation: 2, differingHosts: ["b"] }]);
    await b.fleetModules.join();
    await soon(async () => expect([b.version("mischief"), await b.versionOf(comes), await b.say(comes, "total")]).toEqual(["2.0.0", "2.0.0", "3"]));
  });
});
