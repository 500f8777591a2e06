import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { ManualClock, systemClock } from "../../runtime/core/clock.ts";
import type { SirsiError } from "../../runtime/core/errors.ts";
import { openAdmission } from "../../runtime/module/admission.ts";
import { digestOf } from "../../runtime/module/inspect.ts";
import { ModuleRegistry, type RegistryConfig } from "../../runtime/module/index.ts";
import { MemoryLedger, testPolicy } from "../support/module-policy.ts";
import { guestModule, truncatedModule, waitingModule } from "../support/wat.ts";

let root = "";
/** One for all tests: most of them then need no preparer. */
let cacheDir = "";
let ledger = new MemoryLedger();
let clock = new ManualClock();
let events: string[] = [];
let faults: SirsiError[] = [];
const opened: ModuleRegistry[] = [];

beforeAll(async () => {
  cacheDir = await mkdtemp(join(tmpdir(), "sirsi-registry-cache-"));
});
afterAll(() => rm(cacheDir, { recursive: true, force: true }));
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "sirsi-registry-"));
  ledger = new MemoryLedger();
  clock = new ManualClock();
  events = [];
  faults = [];
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map((registry) => registry.close()));
  await rm(root, { recursive: true, force: true });
});

async function start(change: Partial<RegistryConfig> = {}): Promise<ModuleRegistry> {
  const config: RegistryConfig = {
    directory: join(root, "modules"), dataDir: join(root, "data"), policy: testPolicy(), watch: false, keepSuperseded: 5, moduleMaxBytes: 1 << 20,
    admitTimeoutMs: 30_000, cacheMaxBytes: 1 << 24, clock, onFault: (error) => void faults.push(error), ...change,
  };
  const admission = openAdmission({ ...config, clock: systemClock, cacheDir });
  const registry = new ModuleRegistry({ ...config, admission }, ledger);
  opened.push(registry);
  registry.subscribe((event) => {
    clock.advance(1);
    if (event.kind === "activated") events.push(`activated ${event.module} ${event.from?.manifest.version ?? "-"} -> ${event.to.manifest.version}`);
    else events.push(`${event.kind} ${event.module}`);
  });
  await registry.start();
  return registry;
}

const file = (name: string) => join(root, "modules", name);
const version = (number: number, name = "sample") => guestModule({ name, version: `${number}.0.0` });
const put = async (name: string, bytes: Uint8Array | string) => {
  await writeFile(`${file(name)}.tmp`, bytes);
  await rename(`${file(name)}.tmp`, file(name));
};
const told = (event: string) => vi.waitFor(() => expect(events).toContain(event), { timeout: 10_000, interval: 10 });

async function startWith(files: Record<string, Uint8Array | string>, change: Partial<RegistryConfig> = {}): Promise<ModuleRegistry> {
  await mkdir(join(root, "modules"), { recursive: true });
  for (const [name, bytes] of Object.entries(files)) await put(name, bytes);
  return start(change);
}

async function restart(change: Partial<RegistryConfig> = {}): Promise<ModuleRegistry> {
  await Promise.all(opened.splice(0).map((registry) => registry.close()));
  events = [];
  return start(change);
}

describe("a registry that starts", () => {
  it("makes its directories, and every module of the directory active", async () => {
    const registry = await startWith({ "b.wasm": version(1, "beta"), "a.wasm": version(2, "alpha"), "bad.wasm": truncatedModule() });
    expect(events).toEqual(["activated alpha - -> 2.0.0", "activated beta - -> 1.0.0", "rejected "]);
    expect(registry.list().map(({ name, state, file: from }) => [name, state, from])).toEqual([["alpha", "ACTIVE", "a.wasm"], ["bad", "FAILED", "bad.wasm"], ["beta", "ACTIVE", "b.wasm"]]);
    expect(registry.get("bad").lastError?.message).toMatch(/not well-formed/);
    expect(registry.resolve("alpha").digest).toBe(digestOf(version(2, "alpha")));
    expect(faults).toEqual([]);
  });

  it("prepares nothing twice: a second start takes all from the cache", async () => {
    await startWith({ "a.wasm": version(1) });
    await Promise.all(opened.splice(0).map((registry) => registry.close()));
    const admission = openAdmission({ policy: testPolicy(), cacheDir, cacheMaxBytes: 1 << 24, moduleMaxBytes: 1 << 20, admitTimeoutMs: 30_000, clock: systemClock });
    const registry = new ModuleRegistry(
      { directory: join(root, "modules"), dataDir: join(root, "data"), policy: testPolicy(), watch: false, keepSuperseded: 5, moduleMaxBytes: 1 << 20, admitTimeoutMs: 1, cacheMaxBytes: 1, clock, onFault: (error) => void faults.push(error), admission },
      ledger,
    );
    opened.push(registry);
    await registry.start();
    expect(registry.get("sample").state).toBe("ACTIVE");
    expect(admission.preparerLoaded).toBe(false);
  });

  it("serves the revision that served when the file was spoilt meanwhile, and says why", async () => {
    await startWith({ "a.wasm": version(1) });
    await put("a.wasm", truncatedModule());
    const registry = await restart();
    expect(registry.resolve("sample").manifest.version).toBe("1.0.0");
    expect(registry.get("sample")).toMatchObject({ state: "ACTIVE", lastError: { code: "MODULE_REJECTED" } });
  });

  it("retires a module whose file went meanwhile, and keeps its revision for its agents", async () => {
    await startWith({ "a.wasm": version(1) });
    await rm(file("a.wasm"));
    const registry = await restart();
    expect(events).toEqual(["retired sample"]);
    expect(() => registry.resolve("sample")).toThrow(expect.objectContaining({ code: "MODULE_RETIRED" }));
    expect((await registry.revisionByDigest(digestOf(version(1)))).manifest.version).toBe("1.0.0");
    expect((await restart()).get("sample").state).toBe("RETIRED");
  });

  it("takes a file that was replaced meanwhile and supersedes the old revision", async () => {
    await startWith({ "a.wasm": version(1) });
    await put("a.wasm", version(2));
    const registry = await restart();
    expect(registry.get("sample").revisions.map(({ record }) => [record.version, record.state])).toEqual([["2.0.0", "ACTIVE"], ["1.0.0", "SUPERSEDED"]]);
    await vi.waitFor(() => expect(registry.resolve("sample@1.0.0").manifest.version).toBe("1.0.0"));
  });

  it("says so when it has neither a sound file nor the old bytes", async () => {
    await startWith({ "a.wasm": version(1) });
    await put("a.wasm", truncatedModule());
    await writeFile(join(root, "data", "revisions", `${digestOf(version(1))}.wasm`), "rotten");
    const registry = await restart();
    expect(registry.get("sample").state).toBe("FAILED");
    expect(faults.map((fault) => fault.code)).toEqual(["STORE_CORRUPT"]);
    await expect(registry.revisionByDigest(digestOf(version(1)))).rejects.toMatchObject({ code: "STORE_CORRUPT" });
  });
});

describe("resolving an agent type", () => {
  it("takes a name, a name with a version, and a whole digest", async () => {
    const registry = await startWith({ "a.wasm": version(1) });
    await registry.install(version(2), { validateOnly: false });
    expect(registry.resolve("sample").manifest.version).toBe("2.0.0");
    expect(registry.resolve("sample@1.0.0").manifest.version).toBe("1.0.0");
    expect(registry.resolve("sample@2.0.0")).toBe(registry.resolve("sample"));
    expect(registry.resolve(digestOf(version(1))).manifest.version).toBe("1.0.0");
  });

  it.each([
    ["sampel", "AGENT_TYPE_NOT_FOUND", /did you mean "sample"\?/],
    ["sample@9.0.0", "AGENT_TYPE_NOT_FOUND", /it has 1\.0\.0/],
    ["broken", "AGENT_TYPE_NOT_FOUND", /no revision that was admitted/],
    ["waiter", "MODULE_PENDING_APPROVAL", /asks for sleep/],
    ["waiter@1.0.0", "MODULE_PENDING_APPROVAL", /asks for sleep/],
    ["f".repeat(64), "AGENT_TYPE_NOT_FOUND", /no module provides/],
  ])("refuses %s with %s", async (type, code, message) => {
    const registry = await startWith({ "a.wasm": version(1), "broken.wasm": "nonsense", "w.wasm": guestModule({ name: "waiter", requests: ["sleep"] }) });
    expect(() => registry.resolve(type)).toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) as string }));
  });
});

describe("installing", () => {
  it("writes the file, activates it and keeps the one before", async () => {
    const registry = await start();
    expect(await registry.install(version(1), { validateOnly: false })).toMatchObject({ kind: "activated", module: "sample", from: null });
    expect(await registry.install(version(2), { validateOnly: false })).toMatchObject({ kind: "activated", from: { manifest: { version: "1.0.0" } } });
    expect(await registry.install(version(2), { validateOnly: false })).toMatchObject({ kind: "unchanged" });
    expect(digestOf(await readFile(file("sample.wasm")))).toBe(digestOf(version(2)));
    expect(ledger.modules.get("sample")).toEqual({ module: "sample", activeDigest: digestOf(version(2)), retired: false, file: "sample.wasm" });
  });

  it("changes nothing when it only validates", async () => {
    const registry = await start();
    expect(await registry.install(version(1), { validateOnly: true })).toMatchObject({ kind: "valid", revision: { manifest: { version: "1.0.0" } } });
    expect(await registry.install(guestModule({ requests: ["sleep"] }), { validateOnly: true })).toMatchObject({ kind: "pending", module: "sample" });
    expect(registry.list()).toEqual([]);
    expect(await readdir(join(root, "modules"))).toEqual([]);
  });

  it("throws the reason of a refusal and leaves what serves", async () => {
    const registry = await startWith({ "sample.wasm": version(1) });
    await expect(registry.install(truncatedModule(), { validateOnly: false })).rejects.toMatchObject({ code: "MODULE_REJECTED" });
    expect(digestOf(await readFile(file("sample.wasm")))).toBe(digestOf(version(1)));
    expect(registry.resolve("sample").manifest.version).toBe("1.0.0");
  });

  it("obeys the sidecar that lies there for the module", async () => {
    const registry = await start();
    await put("sample.toml", "[limits]\nmailbox_depth = 3");
    await registry.install(version(1), { validateOnly: false });
    expect(registry.resolve("sample").limits.mailboxDepth).toBe(3);
  });

  it("does not write over another module's file", async () => {
    const registry = await startWith({ "sample.wasm": version(1, "other") });
    await expect(registry.install(version(1), { validateOnly: false })).rejects.toMatchObject({ code: "MODULE_REJECTED", message: expect.stringContaining("provides module other") as string });
  });

  it("lets what asks for more wait while the old one serves, until it is granted and reloaded", async () => {
    const registry = await startWith({ "sample.wasm": version(1) });
    const wanting = guestModule({ version: "2.0.0", requests: ["sleep"] });
    expect(await registry.install(wanting, { validateOnly: false })).toMatchObject({ kind: "pending", missing: ["sleep"] });
    expect(registry.resolve("sample").manifest.version).toBe("1.0.0");
    expect(registry.get("sample").revisions[0]?.record).toMatchObject({ state: "PENDING_APPROVAL", version: "2.0.0" });
    expect((await restart()).resolve("sample").manifest.version).toBe("1.0.0");
    const [again] = opened;
    again!.setPolicy(testPolicy({ defaultGrants: ["sleep"] }));
    expect(await again!.reload("sample")).toMatchObject({ kind: "activated", to: { grants: ["sleep"] } });
    expect(again!.get("sample").lastError).toBeNull();
  });

  it("serialises what is done to one module", async () => {
    const registry = await start();
    await Promise.all([1, 2, 3].map((number) => registry.install(version(number), { validateOnly: false })));
    expect(events).toEqual(["activated sample - -> 1.0.0", "activated sample 1.0.0 -> 2.0.0", "activated sample 2.0.0 -> 3.0.0"]);
  });
});

describe("a revision that would take another's place, when candidates are held", () => {
  const HELD = { holdCandidates: true };
  const state = (registry: ModuleRegistry) => registry.get("sample").revisions.map(({ record }) => [record.version, record.state]);

  it("waits, and the one that is active serves, until it is activated", async () => {
    const registry = await startWith({ "a.wasm": version(1) }, HELD);
    const taken = await registry.install(version(2), { validateOnly: false });
    expect(taken).toMatchObject({ kind: "candidate", asked: true, from: { manifest: { version: "1.0.0" } }, to: { manifest: { version: "2.0.0" } } });
    expect([registry.resolve("sample").manifest.version, registry.candidateOf("sample")?.manifest.version]).toEqual(["1.0.0", "2.0.0"]);
    const digest = digestOf(version(2));
    await registry.activate("sample", digest);
    await registry.activate("sample", digest);
    expect([registry.resolve("sample").manifest.version, registry.candidateOf("sample"), state(registry)]).toEqual(["2.0.0", null, [["2.0.0", "ACTIVE"], ["1.0.0", "SUPERSEDED"]]]);
    expect(events).toEqual(["activated sample - -> 1.0.0", "candidate sample", "activated sample 1.0.0 -> 2.0.0"]);
  });

  it("gives way to what the file holds next, also to what serves", async () => {
    const registry = await startWith({ "a.wasm": version(1) }, HELD);
    await registry.install(version(2), { validateOnly: false });
    await registry.install(version(3), { validateOnly: false });
    await expect(registry.activate("sample", digestOf(version(2)))).rejects.toMatchObject({ code: "MODULE_REJECTED", message: expect.stringContaining("no longer what its file holds") as string });
    expect(await registry.install(version(1), { validateOnly: false })).toMatchObject({ kind: "unchanged" });
    expect(registry.candidateOf("sample")).toBeNull();
    await registry.install(version(2), { validateOnly: false });
    await put("a.wasm", truncatedModule());
    await expect(registry.reload("sample")).rejects.toMatchObject({ code: "MODULE_REJECTED" });
    expect(registry.candidateOf("sample")).toBeNull();
  });

  it("is turned down with a reason, and not taken again unasked", async () => {
    const registry = await startWith({ "a.wasm": version(1) }, { ...HELD, watch: true });
    const taken = await registry.install(version(2), { validateOnly: false });
    if (taken.kind !== "candidate") throw new Error(taken.kind);
    await registry.reject("sample", taken.to, "load() trapped");
    expect([state(registry), registry.get("sample").lastError?.message]).toEqual([[["2.0.0", "REJECTED"], ["1.0.0", "ACTIVE"]], expect.stringContaining("was not kept: load() trapped")]);
    expect([registry.refusalOf(taken.to.digest), registry.refusalOf(taken.from.digest), registry.refusalOf("f".repeat(64))]).toEqual(["load() trapped", "", ""]);
    await put("b.wasm", version(1, "other"));
    await put("a.wasm", version(2));
    await told("activated other - -> 1.0.0");
    expect([registry.candidateOf("sample"), registry.get("sample").lastError?.code]).toEqual([null, "MODULE_REJECTED"]);
    expect(await registry.reload("sample")).toMatchObject({ kind: "candidate", asked: true });
    await registry.withdraw("sample", taken.to.digest);
    expect(registry.candidateOf("sample")).toBeNull();
  });

  it("is taken back after it was active: the one before is active, over a restart too, though the file holds the other", async () => {
    const registry = await startWith({ "a.wasm": version(1) }, HELD);
    const taken = await registry.install(version(2), { validateOnly: false });
    if (taken.kind !== "candidate") throw new Error(taken.kind);
    await registry.activate("sample", taken.to.digest);
    await registry.revert("sample", taken.to, taken.from, "too many faults");
    await registry.revert("sample", taken.to, taken.from, "too many faults");
    expect([registry.resolve("sample").manifest.version, state(registry)]).toEqual(["1.0.0", [["2.0.0", "REJECTED"], ["1.0.0", "ACTIVE"]]]);
    expect(events.filter((event) => event === "reverted sample").length).toBe(1);
    const next = await restart(HELD);
    expect([next.resolve("sample").manifest.version, next.candidateOf("sample")?.manifest.version]).toEqual(["1.0.0", "2.0.0"]);
    expect(events).toEqual(["candidate sample"]);
  });

  it("is offered at a start when the file changed meanwhile; the old one serves from the archive", async () => {
    await startWith({ "a.wasm": version(1) }, HELD);
    await put("a.wasm", version(2));
    const registry = await restart(HELD);
    expect([registry.resolve("sample").manifest.version, registry.candidateOf("sample")?.manifest.version, events]).toEqual(["1.0.0", "2.0.0", ["candidate sample"]]);
  });

  it("is offered for a retired module too, which stays retired until it is activated", async () => {
    const registry = await startWith({ "a.wasm": version(1) }, HELD);
    await registry.remove("sample");
    expect(await registry.install(version(2), { validateOnly: false })).toMatchObject({ kind: "candidate", from: { manifest: { version: "1.0.0" } } });
    expect(registry.get("sample").state).toBe("RETIRED");
    await registry.activate("sample", digestOf(version(2)));
    expect(registry.resolve("sample").manifest.version).toBe("2.0.0");
  });

  it("serves at once when there is nothing that could serve in its place", async () => {
    await startWith({ "a.wasm": version(1) }, HELD);
    await writeFile(join(root, "data", "revisions", `${digestOf(version(1))}.wasm`), "rotten");
    await put("a.wasm", version(2));
    const registry = await restart(HELD);
    expect([registry.resolve("sample").manifest.version, faults.map(({ code }) => code)]).toEqual(["2.0.0", ["STORE_CORRUPT"]]);
  });

  it("is only looked at when that is asked, by reload and by rollback too", async () => {
    const registry = await startWith({ "a.wasm": version(1) }, HELD);
    await registry.install(version(2), { validateOnly: false });
    await registry.activate("sample", digestOf(version(2)));
    await put("a.wasm", version(3));
    expect(await registry.reload("sample", { validateOnly: true })).toMatchObject({ kind: "valid", revision: { manifest: { version: "3.0.0" } } });
    expect(await registry.rollback("sample", null, { validateOnly: true })).toMatchObject({ kind: "valid", revision: { manifest: { version: "1.0.0" } } });
    expect([registry.resolve("sample").manifest.version, registry.candidateOf("sample"), digestOf(await readFile(file("a.wasm")))]).toEqual(["2.0.0", null, digestOf(version(3))]);
  });
});

describe("where an agent belongs", () => {
  it("is the active revision, for one that was made before it, or that is on one that was not kept", async () => {
    const registry = await startWith({ "a.wasm": version(1) });
    const madeEarly = clock.now();
    clock.advance(1_000);
    await registry.install(version(2), { validateOnly: false });
    const [first, second] = [digestOf(version(1)), digestOf(version(2))];
    expect(registry.successorOf("sample", first, madeEarly)).toMatchObject({ revision: { digest: second }, refused: false });
    expect(registry.successorOf("sample", second, madeEarly)).toBeNull();
    // Asked for by its version when the other was active already.
    expect(registry.successorOf("sample", first, clock.now() + 1)).toBeNull();
    expect(registry.successorOf("sample", "e".repeat(64), clock.now() + 1)).toMatchObject({ revision: { digest: second }, refused: true });
    await registry.install(guestModule({ version: "3.0.0", onSwap: "keep" }), { validateOnly: false });
    expect(registry.successorOf("sample", first, madeEarly)).toBeNull();
    await registry.remove("sample");
    expect([registry.successorOf("sample", first, madeEarly), registry.successorOf("nobody", first, madeEarly)]).toEqual([null, null]);
  });
});

describe("rolling back", () => {
  it("goes to the revision before, and back, writing the file that serves", async () => {
    const registry = await startWith({ "sample.wasm": version(1) });
    await registry.install(version(2), { validateOnly: false });
    await registry.rollback("sample", null);
    expect(digestOf(await readFile(file("sample.wasm")))).toBe(digestOf(version(1)));
    expect((await restart()).resolve("sample").manifest.version).toBe("1.0.0");
    await opened[0]!.rollback("sample", digestOf(version(2)).slice(0, 12));
    expect(opened[0]!.resolve("sample").manifest.version).toBe("2.0.0");
  });

  it("is refused without an earlier revision, for unknown ones, and when its bytes are gone", async () => {
    const registry = await startWith({ "sample.wasm": version(1) });
    await expect(registry.rollback("sample", null)).rejects.toMatchObject({ code: "MODULE_NO_PREVIOUS" });
    await expect(registry.rollback("smaple", null)).rejects.toMatchObject({ code: "MODULE_NOT_FOUND", message: expect.stringContaining('"sample"') as string });
    await registry.install(version(2), { validateOnly: false });
    await rm(join(root, "data", "revisions", `${digestOf(version(1))}.wasm`));
    await expect(registry.rollback("sample", null)).rejects.toMatchObject({ code: "MODULE_NO_PREVIOUS" });
  });
});

describe("removing", () => {
  it("retires the module, keeps it for its agents, and takes it again", async () => {
    const registry = await startWith({ "sample.wasm": version(1) });
    const { digest } = registry.resolve("sample");
    expect(await registry.remove("sample")).toMatchObject({ state: "RETIRED", active: null });
    expect(await registry.remove("sample")).toMatchObject({ state: "RETIRED" });
    expect(await readdir(join(root, "modules"))).toEqual([]);
    expect(() => registry.resolve(digest)).toThrow(expect.objectContaining({ code: "MODULE_RETIRED" }));
    expect((await registry.revisionByDigest(digest)).digest).toBe(digest);
    await expect(registry.reload("sample")).rejects.toMatchObject({ code: "MODULE_RETIRED" });
    await registry.install(version(1), { validateOnly: false });
    expect(registry.resolve("sample").digest).toBe(digest);
    expect(events).toEqual(["activated sample - -> 1.0.0", "retired sample", "activated sample - -> 1.0.0"]);
  });

  it("forgets a module that never served", async () => {
    const registry = await startWith({ "bad.wasm": "nonsense" });
    await registry.remove("bad");
    expect(registry.list()).toEqual([]);
  });
});

describe("old revisions", () => {
  it("are kept while an agent is on them, asleep or not", async () => {
    const registry = await startWith({ "a.wasm": version(1) }, { keepSuperseded: 0 });
    registry.allowForgetting();
    ledger.peopled.set(digestOf(version(1)), 1);
    for (const number of [2, 3]) await registry.install(version(number), { validateOnly: false });
    expect(registry.get("sample").revisions.map(({ record }) => record.version)).toEqual(["3.0.0", "1.0.0"]);
    expect((await registry.revisionByDigest(digestOf(version(1)))).manifest.version).toBe("1.0.0");
  });

  it("are forgotten beyond the newest, once that is allowed, unless in use", async () => {
    const registry = await start({ keepSuperseded: 1 });
    const [first, second, third, fourth] = [1, 2, 3, 4].map((number) => digestOf(version(number)));
    for (const number of [1, 2, 3]) await registry.install(version(number), { validateOnly: false });
    const sorted = (...digests: (string | undefined)[]) => digests.map(String).toSorted();
    const kept = async () => (await readdir(join(root, "data", "revisions"))).map((name) => name.slice(0, 64)).toSorted();
    expect(await kept()).toEqual(sorted(first, second, third));
    registry.retain(first!);
    registry.retain(first!);
    registry.allowForgetting();
    await registry.install(version(4), { validateOnly: false });
    expect(await kept()).toEqual(sorted(first, third, fourth));
    registry.release(first!);
    registry.release(first!);
    await vi.waitFor(async () => expect(await kept()).toEqual(sorted(third, fourth)));
    await expect(registry.revisionByDigest(first!)).rejects.toMatchObject({ code: "MODULE_NOT_FOUND" });
    expect(registry.get("sample").revisions.map(({ record }) => record.version)).toEqual(["4.0.0", "3.0.0"]);
  });

  it("are loaded once for many who ask, with what is still granted", async () => {
    const wanting = guestModule({ requests: ["ask"] });
    await startWith({ "sample.wasm": wanting });
    await put("sample.wasm", version(2));
    const registry = await restart({ policy: testPolicy({ defaultGrants: [] }) });
    const [one, two] = await Promise.all([registry.revisionByDigest(digestOf(wanting)), registry.revisionByDigest(digestOf(wanting))]);
    expect(one).toBe(two);
    expect(one.grants).toEqual([]);
  });
});

describe("files that change while the host runs", () => {
  it("are taken, replaced, refused and retired", async () => {
    const registry = await start({ watch: true });
    await put("sample.wasm", version(1));
    await told("activated sample - -> 1.0.0");
    await put("sample.wasm", version(2));
    await told("activated sample 1.0.0 -> 2.0.0");
    await put("sample.wasm", truncatedModule());
    await told("rejected ");
    expect(registry.get("sample")).toMatchObject({ state: "ACTIVE", active: { manifest: { version: "2.0.0" } }, lastError: { code: "MODULE_REJECTED" } });
    await put("sample.wasm", version(2));
    await vi.waitFor(() => expect(registry.get("sample").lastError).toBeNull(), { timeout: 5_000 });
    await rm(file("sample.wasm"));
    await told("retired sample");
    expect(faults).toEqual([]);
  });

  it("end with the whole file when it was written in two goes, in place", async () => {
    const registry = await start({ watch: true });
    await writeFile(file("sample.wasm"), truncatedModule());
    await told("rejected ");
    await writeFile(file("sample.wasm"), version(1));
    await told("activated sample - -> 1.0.0");
    expect(registry.list()).toHaveLength(1);
  });

  it("are narrowed by a sidecar that comes later, and widened again when it goes", async () => {
    const registry = await startWith({ "sample.wasm": version(1) }, { watch: true });
    const before = registry.resolve("sample").limits.mailboxDepth;
    await put("sample.toml", "[limits]\nmailbox_depth = 7");
    await told("activated sample 1.0.0 -> 1.0.0");
    expect(registry.resolve("sample").limits.mailboxDepth).toBe(7);
    await rm(file("sample.toml"));
    await vi.waitFor(() => expect(registry.resolve("sample").limits.mailboxDepth).toBe(before), { timeout: 5_000 });
  });

  it("do nothing when install wrote them", async () => {
    const registry = await start({ watch: true });
    await registry.install(version(1), { validateOnly: false });
    await put("zz.wasm", version(1, "zz"));
    await told("activated zz - -> 1.0.0");
    expect(events).toEqual(["activated sample - -> 1.0.0", "activated zz - -> 1.0.0"]);
  });

  it("may be renamed: the module goes on", async () => {
    const registry = await startWith({ "old.wasm": version(1) }, { watch: true });
    await rename(file("old.wasm"), file("new.wasm"));
    await vi.waitFor(() => expect(registry.get("sample")).toMatchObject({ file: "new.wasm", state: "ACTIVE" }), { timeout: 5_000 });
  });

  it("do not take another's name, until the other is gone", async () => {
    const registry = await startWith({ "first.wasm": version(1), "second.wasm": version(2) }, { watch: true });
    expect(registry.resolve("sample").manifest.version).toBe("1.0.0");
    expect(registry.get("second").lastError?.message).toMatch(/provided by first\.wasm already/);
    await rm(file("first.wasm"));
    await vi.waitFor(() => expect(registry.get("sample")).toMatchObject({ file: "second.wasm", active: { manifest: { version: "2.0.0" } } }), { timeout: 5_000 });
    expect(registry.list().map(({ name }) => name)).toEqual(["sample"]);
  });

  it("retire the module they gave when they give another", async () => {
    const registry = await startWith({ "a.wasm": version(1) }, { watch: true });
    await put("a.wasm", version(1, "renamed"));
    await told("retired sample");
    expect(registry.list().map(({ name, state }) => [name, state])).toEqual([["renamed", "ACTIVE"], ["sample", "RETIRED"]]);
    await expect(registry.rollback("sample", null)).rejects.toMatchObject({ code: "MODULE_REJECTED" });
    await expect(registry.reload("sample")).rejects.toMatchObject({ code: "MODULE_REJECTED" });
  });
});

describe("a registry left to itself", () => {
  it("opens its own admission, with its cache and archive in the data directory", async () => {
    const registry = new ModuleRegistry(
      { directory: join(root, "modules"), dataDir: join(root, "data"), policy: testPolicy(), watch: false, keepSuperseded: 5, moduleMaxBytes: 1 << 20, admitTimeoutMs: 30_000, cacheMaxBytes: 1 << 24, clock: systemClock, onFault: (error) => void faults.push(error) },
      ledger,
    );
    opened.push(registry);
    await registry.start();
    await registry.install(version(1), { validateOnly: false });
    expect(await readdir(join(root, "data", "cache"))).toHaveLength(1);
    expect(await readdir(join(root, "data", "revisions"))).toEqual([`${digestOf(version(1))}.wasm`]);
  });
});

describe("a registry of a host in a fleet", () => {
  const bytes = new Map<string, Uint8Array>();
  const shared = { get: (digest: string) => Promise.resolve(bytes.get(digest) ?? null), put: (digest: string, put: Uint8Array) => Promise.resolve(void bytes.set(digest, put)) };
  beforeEach(() => bytes.clear());
  const kept = (digest: string) => readdir(join(root, "data", "revisions")).then((files) => files.includes(`${digest}.wasm`));

  it("F1 gives the fleet the bytes of a revision before it can have agents", async () => {
    const registry = await startWith({ "sample.wasm": version(1) }, { shared, holdCandidates: true });
    await registry.install(version(2), { validateOnly: false });
    expect([registry.candidateOf("sample")?.manifest.version, [...bytes.keys()]]).toEqual(["2.0.0", [digestOf(version(1)), digestOf(version(2))]]);
  });

  it("has a revision that only other hosts served, under its own sidecar and grants, and forgets it when no agent needs it", async () => {
    const digest = digestOf(guestModule({ version: "9.0.0", requests: ["sleep"] }));
    await shared.put(digest, guestModule({ version: "9.0.0", requests: ["sleep"] }));
    const registry = await startWith({ "sample.wasm": version(1), "sample.toml": "[limits]\nmailbox_depth = 3" }, { shared });
    registry.allowForgetting();
    const revision = await registry.revisionByDigest(digest);
    expect([revision.manifest.version, revision.limits.mailboxDepth, revision.grants, await kept(digest)]).toEqual(["9.0.0", 3, [], true]);
    expect(registry.successorOf("sample", digest, clock.now())).toMatchObject({ revision: { manifest: { version: "1.0.0" } } });
    registry.retain(digest);
    registry.release(digest);
    await vi.waitFor(async () => expect(await kept(digest)).toBe(false), { interval: 5 });
    expect((await registry.revisionByDigest(digest)).manifest.version).toBe("9.0.0");
  });

  it("refuses bytes that are not what they should be, and what nobody has", async () => {
    const registry = await startWith({}, { shared });
    await shared.put("f".repeat(64), version(1));
    await expect(registry.revisionByDigest("f".repeat(64))).rejects.toMatchObject({ code: "STORE_CORRUPT" });
    await expect(registry.revisionByDigest("e".repeat(64))).rejects.toMatchObject({ code: "MODULE_NOT_FOUND" });
  });

  it("can go back to what its own disk has lost", async () => {
    await startWith({ "sample.wasm": version(1) }, { shared });
    await opened[0]!.install(version(2), { validateOnly: false });
    await Promise.all(opened.splice(0).map((registry) => registry.close()));
    await rm(join(root, "data"), { recursive: true });
    const registry = await start({ shared });
    expect(await registry.rollback("sample", null)).toMatchObject({ kind: "activated", to: { manifest: { version: "1.0.0" } } });
  });

  it("S2 counts an agent as made before its module's revision by when all hosts had that", async () => {
    const registry = await startWith({ "sample.wasm": version(1) }, { shared });
    await registry.install(version(2), { validateOnly: false });
    const madeAt = clock.now() + 5;
    expect(registry.successorOf("sample", digestOf(version(1)), madeAt)).toBeNull();
    registry.dateBy((module, digest) => (module === "sample" && digest === digestOf(version(2)) ? Infinity : null));
    expect(registry.successorOf("sample", digestOf(version(1)), madeAt)).toMatchObject({ refused: false, revision: { manifest: { version: "2.0.0" } } });
  });

  it("writes a module that it does not know under the name that the fleet has for its file, if that is one", async () => {
    const registry = await startWith({}, { shared });
    await registry.install(version(1, "one"), { validateOnly: false, file: "uno.wasm" });
    await registry.install(version(1, "two"), { validateOnly: false, file: "../two.wasm" });
    expect((await readdir(join(root, "modules"))).toSorted()).toEqual(["two.wasm", "uno.wasm"]);
  });
});

describe("trouble", () => {
  it("of a subscriber is reported and stops nobody else", async () => {
    const registry = await start();
    registry.subscribe(() => {
      throw new RangeError("subscriber");
    });
    await registry.install(waitingModule(), { validateOnly: false });
    expect(faults.map((fault) => fault.message)).toEqual(["subscriber"]);
    expect(registry.resolve("sample").canWait).toBe(true);
  });

  it("of the ledger leaves what served", async () => {
    const registry = await startWith({ "sample.wasm": version(1) });
    vi.spyOn(ledger, "putModule").mockRejectedValueOnce(new RangeError("disk"));
    await expect(registry.install(version(2), { validateOnly: false })).rejects.toThrow("disk");
    expect(registry.resolve("sample").manifest.version).toBe("1.0.0");
  });

  it("after close is told as shutting down", async () => {
    const registry = await start();
    await registry.close();
    await expect(registry.install(version(1), { validateOnly: false })).rejects.toMatchObject({ code: "SHUTTING_DOWN" });
  });
});
