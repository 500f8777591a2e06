import { create } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { beforeEach, describe, expect, it } from "vitest";
import type { SwapReport } from "../../../runtime/agent/agents.ts";
import { GetModuleRequestSchema, InstallModuleRequestSchema, ListModulesRequestSchema, ModuleState, ReloadModuleRequestSchema, RemoveModuleRequestSchema, RevisionState, RollbackModuleRequestSchema } from "../../../runtime/contract/gen/sirsi/hypervisor/v1/hypervisor_service_pb.ts";
import { SirsiError } from "../../../runtime/core/errors.ts";
import { DEFAULT_GUEST_LIMITS } from "../../../runtime/core/limits.ts";
import { agentTypesOf, createHypervisorService } from "../../../runtime/hypervisor/hypervisor-service.ts";
import type { ModuleOperations } from "../../../runtime/hypervisor/hypervisor-service.ts";
import type { HypervisorServiceApi } from "../../../runtime/hypervisor/service-api.ts";
import type { InstallOutcome, ModuleView, Revision } from "../../../runtime/module/index.ts";
import { manifest } from "../../support/fake-agents.ts";
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
let swaps: string[];
let service: HypervisorServiceApi;
const SWAPPED: SwapReport = { moved: 3, kept: 2, failed: 1, failureReason: "load() trapped" };

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
  reload: (name) => {
    asked.push(name);
    modules.get(name);
    return outcome.kind === "valid" ? Promise.reject(new SirsiError("INTERNAL", "reload never only validates")) : Promise.resolve(outcome);
  },
  rollback: (name, digest) => {
    asked.push([name, digest]);
    modules.get(name);
    return outcome.kind === "valid" ? Promise.reject(new SirsiError("INTERNAL", "rollback never only validates")) : Promise.resolve(outcome);
  },
  remove: (name) => Promise.resolve({ ...modules.get(name), state: "RETIRED", active: null }),
  resolve: () => NEW,
};

beforeEach(() => {
  views = [view(NEW)];
  outcome = { kind: "activated", module: "aws", from: OLD, to: NEW };
  asked = [];
  swaps = [];
  service = createHypervisorService({
    modules,
    liveAgents: (name) => (name === "aws" ? new Map([[OLD.digest, 4], [NEW.digest, 7]]) : new Map()),
    swapAgents: (module, toDigest) => {
      swaps.push(`${module} ${toDigest.slice(0, 1)}`);
      return Promise.resolve(SWAPPED);
    },
    baseEvery: 32,
    operator: operatorBench().deps,
  });
});

const install = (wasm: Uint8Array, validateOnly = false) => service.installModule(create(InstallModuleRequestSchema, { wasm, validateOnly }), call());
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
    expect(swaps).toEqual(["aws b"]);
    expect(module!.name).toBe("aws");
    expect(installed).toMatchObject({ digest: NEW.digest, state: RevisionState.ACTIVE });
    expect(swap).toMatchObject(SWAPPED);
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
    outcome = { kind: "activated", module: "aws", from: NEW, to: third };
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
    expect(asked).toEqual(["aws", ["aws", null], ["aws", "abcdef12"]]);
    expect(swaps).toEqual(["aws b", "aws b", "aws b"]);
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

it("the agent types are those of the active revisions, by name", () => {
  views = [view(NEW, { name: "z", active: revision("zeta", "1.0.0", "9") }), view(NEW), view(null, { state: "RETIRED", active: null })];
  const types = agentTypesOf(modules);
  expect(types.available().map(({ name }) => name)).toEqual(["aws", "zeta"]);
  expect(types.resolve("aws").manifest.version).toBe("2.0.0");
});
