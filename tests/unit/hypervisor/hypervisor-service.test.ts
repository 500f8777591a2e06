import { create } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { beforeEach, describe, expect, it } from "vitest";
import { GetModuleRequestSchema, InstallModuleRequestSchema, ListModulesRequestSchema, ListSwapsRequestSchema, ModuleState, ReloadModuleRequestSchema, RemoveModuleRequestSchema, RevisionState, RollbackModuleRequestSchema, SwapOptionsSchema, SwapState } from "../../../runtime/contract/gen/sirsi/hypervisor/v1/hypervisor_service_pb.ts";
import { SirsiError } from "../../../runtime/core/errors.ts";
import { DEFAULT_GUEST_LIMITS } from "../../../runtime/core/limits.ts";
import { agentTypesOf, createHypervisorService } from "../../../runtime/hypervisor/hypervisor-service.ts";
import type { ModuleOperations } from "../../../runtime/hypervisor/hypervisor-service.ts";
import type { HypervisorServiceApi } from "../../../runtime/hypervisor/service-api.ts";
import type { InstallOutcome, ModuleView, Revision } from "../../../runtime/module/index.ts";
import { newSwap } from "../../../runtime/hypervisor/swap/swap-record.ts";
import type { SwapRecord } from "../../../runtime/store/store.ts";
import { manifest } from "../../support/fake-agents.ts";
import { SoloHost } from "../../../runtime/hypervisor/operator/solo-host.ts";
import { hostEntry } from "../../support/host-entry.ts";
import { operatorBench } from "../../support/operator-bench.ts";
import { call, codeOf, refusal, wrongFields } from "../../support/service-bench.ts";

const EMPTY_WASM = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);

function revision(name: string, version: string, digit: string): Revision {
  return {
    digest: digit.repeat(64),
    manifest: manifest(name, { version }),
    limits: DEFAULT_GUEST_LIMITS,
    grants: [],
    compiled: new WebAssembly.Module(EMPTY_WASM),
    preparation: "p1",
    globals: [],
    canWait: false,
    uncapturable: "",
    sizeBytes: 10,
    preparedSizeBytes: 20,
    prepareTimeMs: 3,
    imports: ["sirsi.log (func)"],
    exports: ["memory (memory)"],
  };
}

const OLD = revision("aws", "1.0.0", "a");
const NEW = revision("aws", "2.0.0", "b");

function view(active: Revision | null, changes: Partial<ModuleView> = {}): ModuleView {
  const record = (of: Revision, state: "ACTIVE" | "SUPERSEDED") => ({ digest: of.digest, module: "aws", version: of.manifest.version, state, reason: "", sizeBytes: of.sizeBytes, installedAt: 5_000 });
  return {
    name: "aws",
    state: "ACTIVE",
    file: "aws.wasm",
    active,
    revisions: [
      { record: record(NEW, active === NEW ? "ACTIVE" : "SUPERSEDED"), revision: NEW },
      { record: record(OLD, active === OLD ? "ACTIVE" : "SUPERSEDED"), revision: null },
    ],
    lastError: null,
    ...changes,
  };
}

let views: ModuleView[];
let outcome: InstallOutcome;
let asked: unknown[];
let swaps: unknown[];
let kept: SwapRecord[];
let service: HypervisorServiceApi;
const PLAN = { swapId: "s1", module: "aws", fromDigest: OLD.digest, toDigest: NEW.digest, canaryPercent: 10, watchMs: 5_000 };
const RECORD: SwapRecord = { ...newSwap(PLAN, 7_000), state: "WATCHING", moved: 3, kept: 2, failed: 1, pauseP99Ms: 4.5, rehearsal: ["all as before"] };
const SWAPPED = { moved: 3, kept: 2, failed: 1, failureReason: "load() trapped", swapId: "s1", state: SwapState.WATCHING, rehearsal: ["all as before"] };

const modules: ModuleOperations = {
  list: () => views,
  get: (name) => {
    const found = views.find((one) => one.name === name);
    if (found === undefined) throw new SirsiError("MODULE_NOT_FOUND", `no module ${name}`);
    return found;
  },
  install: (bytes, options) => {
    asked.push([bytes, options]);
    return Promise.resolve(outcome);
  },
  reload: (name, options) => {
    asked.push([name, options]);
    modules.get(name);
    return Promise.resolve(outcome);
  },
  rollback: (name, digest, options) => {
    asked.push([name, digest, options]);
    modules.get(name);
    return Promise.resolve(outcome);
  },
  remove: (name) => Promise.resolve({ ...modules.get(name), state: "RETIRED", active: null }),
  resolve: () => NEW,
};

beforeEach(() => {
  views = [view(NEW)];
  outcome = { kind: "candidate", module: "aws", from: OLD, to: NEW, asked: true };
  asked = [];
  swaps = [];
  kept = [RECORD];
  service = createHypervisorService({
    fleet: new SoloHost({ entry: () => hostEntry("h1"), agents: () => 0 }),
    modules,
    liveAgents: (name) => Promise.resolve(name === "aws" ? new Map([[OLD.digest, 4], [NEW.digest, 7]]) : new Map()),
    swaps: {
      perform: ({ module, to }, choices) => {
        swaps.push([module, to.digest.slice(0, 1), choices]);
        return Promise.resolve({ record: RECORD, failureReason: "load() trapped" });
      },
      dryRun: (to, choices) => {
        swaps.push(["dry", to.digest.slice(0, 1), choices]);
        return Promise.resolve({ record: { ...RECORD, state: "DRY_RUN" }, failureReason: "" });
      },
    },
    swapDefaults: { canaryPercent: 10, watchMs: 9_000, rehearseAgents: 3 },
    store: { listSwaps: (module, limit) => Promise.resolve(kept.filter((one) => module === null || one.module === module).slice(0, limit)) },
    baseEvery: 32,
    operator: operatorBench().deps,
  });
});

const DEFAULTS = { canaryPercent: 10, watchMs: 9_000, dryRun: false };
const install = (wasm: Uint8Array, validateOnly = false, swap?: Partial<{ canaryPercent: number; watchMs: bigint; dryRun: boolean }>) =>
  service.installModule(create(InstallModuleRequestSchema, { wasm, validateOnly, ...(swap === undefined ? {} : { swap: create(SwapOptionsSchema, swap) }) }), call());
const listSwaps = (module = "", pageSize = 0) => service.listSwaps(create(ListSwapsRequestSchema, { module, pageSize }), call());
const getModule = (name: string) => service.getModule(create(GetModuleRequestSchema, { name }), call());
const reload = (name: string) => service.reloadModule(create(ReloadModuleRequestSchema, { name }), call());
const rollback = (name: string, digest = "") => service.rollbackModule(create(RollbackModuleRequestSchema, { name, digest }), call());
const remove = (name: string) => service.removeModule(create(RemoveModuleRequestSchema, { name }), call());

describe("ListModules and GetModule", () => {
  it("show a module with its revisions and who runs on them", async () => {
    const { module } = await getModule("aws");
    expect(module).toMatchObject({ name: "aws", state: ModuleState.ACTIVE, liveAgents: 11, file: "aws.wasm", lastError: "" });
    expect(module!.active).toMatchObject({ digest: NEW.digest, version: "2.0.0", state: RevisionState.ACTIVE, liveAgents: 7, sizeBytes: 10n, preparedSizeBytes: 20n, prepareTimeMs: 3, imports: ["sirsi.log (func)"], exports: ["memory (memory)"] });
    expect(JSON.parse(module!.active!.manifestJson)).toMatchObject({ name: "aws", version: "2.0.0" });
    expect(timestampMs(module!.active!.installedAt!)).toBe(5_000);
    expect(module!.revisions.map(({ state, liveAgents, manifestJson }) => [state, liveAgents, manifestJson === ""])).toEqual([
      [RevisionState.ACTIVE, 7, false],
      [RevisionState.SUPERSEDED, 4, true],
    ]);
  });

  it("tells how much a recovery reads at most, and what a checkpoint would miss", async () => {
    expect((await getModule("aws")).recoveryDifferences).toBe(31);
    const forgetful: Revision = { ...NEW, manifest: manifest("aws", { durability: "none" }), uncapturable: "it grows a table" };
    const shown = view(forgetful);
    views = [{ ...shown, revisions: shown.revisions.map((one) => ({ ...one, revision: forgetful })) }];
    const { module, recoveryDifferences } = await getModule("aws");
    expect([recoveryDifferences, module!.active!.uncapturable]).toEqual([0, "it grows a table"]);
  });

  it("show why a file was not taken", async () => {
    const refused = { digest: "c".repeat(64), module: "bad", version: "", state: "REJECTED" as const, reason: "no memory", sizeBytes: 1, installedAt: 1 };
    views = [view(NEW), view(null, { name: "bad", state: "FAILED", revisions: [{ record: refused, revision: null }], lastError: { code: "MODULE_REJECTED", message: "no memory", details: {} } })];
    const { modules: all } = await service.listModules(create(ListModulesRequestSchema), call());
    expect(all.map(({ name, state }) => [name, state])).toEqual([["aws", ModuleState.ACTIVE], ["bad", ModuleState.FAILED]]);
    expect(all[1]).toMatchObject({ lastError: "MODULE_REJECTED: no memory", liveAgents: 0 });
    expect(all[1]!.active).toBeUndefined();
    expect(all[1]!.revisions[0]).toMatchObject({ state: RevisionState.REJECTED, reason: "no memory" });
  });

  it("list by name", async () => {
    views = [view(NEW, { name: "b" }), view(NEW, { name: "a" })];
    expect((await service.listModules(create(ListModulesRequestSchema), call())).modules.map(({ name }) => name)).toEqual(["a", "b"]);
  });

  it("refuse a name that is missing or that there is not", async () => {
    expect(wrongFields(await refusal(getModule("")))).toEqual(["name"]);
    expect(wrongFields(await refusal(getModule("x".repeat(300))))).toEqual(["name"]);
    expect(await codeOf(getModule("nope"))).toBe("MODULE_NOT_FOUND");
  });
});

describe("InstallModule", () => {
  it("activates, moves the live agents and tells of both", async () => {
    const { module, revision: installed, swap } = await install(EMPTY_WASM);
    expect(asked).toEqual([[EMPTY_WASM, { validateOnly: false }]]);
    expect(swaps).toEqual([["aws", "b", DEFAULTS]]);
    expect(module!.name).toBe("aws");
    expect(installed).toMatchObject({ digest: NEW.digest, state: RevisionState.ACTIVE });
    expect(swap).toMatchObject(SWAPPED);
  });

  it("moves them as the request says, and rehearses alone when it is to", async () => {
    await install(EMPTY_WASM, false, { canaryPercent: 25, watchMs: 0n });
    outcome = { kind: "valid", module: "aws", revision: NEW };
    expect((await install(EMPTY_WASM, false, { dryRun: true })).swap).toMatchObject({ state: SwapState.DRY_RUN });
    expect(asked[1]).toEqual([EMPTY_WASM, { validateOnly: true }]);
    expect(swaps).toEqual([["aws", "b", { canaryPercent: 25, watchMs: 0, dryRun: false }], ["dry", "b", { ...DEFAULTS, dryRun: true }]]);
    expect(wrongFields(await refusal(install(EMPTY_WASM, false, { canaryPercent: 101, watchMs: -1n })))).toEqual(["swap.canary_percent", "swap.watch_ms"]);
  });

  it("only looks when it is told to, at a module that is not there yet too", async () => {
    outcome = { kind: "valid", module: "gcp", revision: revision("gcp", "1.0.0", "d") };
    const { module, revision: looked, swap } = await install(EMPTY_WASM, true);
    expect(asked).toEqual([[EMPTY_WASM, { validateOnly: true }]]);
    expect([module, swap, swaps]).toEqual([undefined, undefined, []]);
    expect(looked).toMatchObject({ module: "gcp", version: "1.0.0", state: RevisionState.UNSPECIFIED, preparedSizeBytes: 20n });
  });

  it("says what waits for approval", async () => {
    const error = { code: "MODULE_PENDING_APPROVAL" as const, message: "asks for sleep", details: {} };
    outcome = { kind: "pending", module: "aws", digest: "e".repeat(64), missing: ["sleep"], manifest: manifest("aws", { version: "3.0.0" }), error };
    const { revision: waiting, swap } = await install(EMPTY_WASM);
    expect(waiting).toMatchObject({ digest: "e".repeat(64), version: "3.0.0", state: RevisionState.PENDING_APPROVAL, reason: "asks for sleep" });
    expect([swap!.moved, swaps]).toEqual([0, []]);
  });

  it("moves nobody when the revision serves already", async () => {
    outcome = { kind: "unchanged", module: "aws", revision: NEW };
    expect((await install(EMPTY_WASM)).revision!.digest).toBe(NEW.digest);
    expect(swaps).toEqual([]);
  });

  it("shows a revision that the module's list has lost already", async () => {
    const third = revision("aws", "3.0.0", "f");
    outcome = { kind: "activated", module: "aws", from: null, to: third };
    expect((await install(EMPTY_WASM)).revision).toMatchObject({ digest: third.digest, version: "3.0.0" });
  });

  it("refuses no bytes", async () => {
    expect(wrongFields(await refusal(install(new Uint8Array(0))))).toEqual(["wasm"]);
  });
});

describe("ReloadModule, RollbackModule and RemoveModule", () => {
  it("move the live agents", async () => {
    expect((await reload("aws")).swap).toMatchObject(SWAPPED);
    expect((await rollback("aws")).swap).toMatchObject(SWAPPED);
    expect((await rollback("aws", "abcdef12")).module!.name).toBe("aws");
    const options = { validateOnly: false };
    expect(asked).toEqual([["aws", options], ["aws", null, options], ["aws", "abcdef12", options]]);
    expect(swaps).toEqual([["aws", "b", DEFAULTS], ["aws", "b", DEFAULTS], ["aws", "b", DEFAULTS]]);
  });

  it("retire a module and count who still runs", async () => {
    expect((await remove("aws")).module).toMatchObject({ state: ModuleState.RETIRED, liveAgents: 11 });
  });

  it("refuse names and digests that cannot be", async () => {
    for (const operate of [reload, rollback, remove]) {
      expect(wrongFields(await refusal(operate("")))).toEqual(["name"]);
      expect(await codeOf(operate("nope"))).toBe("MODULE_NOT_FOUND");
    }
    for (const digest of ["abc", "XYZXYZXY", "a".repeat(65)]) expect(wrongFields(await refusal(rollback("aws", digest)))).toEqual(["digest"]);
  });
});

describe("ListSwaps", () => {
  it("shows each with its times, counts, pauses and findings", async () => {
    kept = [{ ...RECORD, state: "REVERTED", reason: "too many faults", endedAt: 8_000, reverted: 3 }, { ...RECORD, swapId: "s0", module: "gcp" }];
    const { swaps: listed } = await listSwaps();
    expect(listed[0]).toMatchObject({ swapId: "s1", state: SwapState.REVERTED, reason: "too many faults", fromDigest: OLD.digest, toDigest: NEW.digest, watchMs: 5_000n, moved: 3, reverted: 3, pauseP99Ms: 4.5, rehearsal: ["all as before"] });
    expect(listed.map(({ startedAt, endedAt }) => [timestampMs(startedAt!), endedAt === undefined ? null : timestampMs(endedAt)])).toEqual([[7_000, 8_000], [7_000, null]]);
    expect((await listSwaps("gcp")).swaps.map(({ swapId }) => swapId)).toEqual(["s0"]);
    expect((await listSwaps("", 1)).swaps.length).toBe(1);
  });

  it("refuses a name and a size that cannot be", async () => {
    expect(wrongFields(await refusal(listSwaps("x".repeat(300), -1)))).toEqual(["module", "page_size"]);
  });
});

it("the agent types are those of the active revisions, by name", () => {
  views = [view(NEW, { name: "z", active: revision("zeta", "1.0.0", "9") }), view(NEW), view(null, { state: "RETIRED", active: null })];
  const types = agentTypesOf(modules);
  expect(types.available().map(({ name }) => name)).toEqual(["aws", "zeta"]);
  expect(types.resolve("aws").manifest.version).toBe("2.0.0");
});
