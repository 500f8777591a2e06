import { describe, expect, it } from "vitest";
import { DEFAULT_GUEST_LIMITS } from "../../../runtime/core/limits.ts";
import { admit, type AdmissionPolicy, type Admitted } from "../../../runtime/module/admit.ts";
import { inspect } from "../../../runtime/module/inspect.ts";
import { testPolicy } from "../../support/module-policy.ts";
import { DONE, guestModule, HOSTILE_MODULES, REFUSED_MODULES, waitingModule } from "../../support/wat.ts";

function admitted(bytes: Uint8Array, policy: AdmissionPolicy = testPolicy(), sidecar: string | null = null): Admitted {
  return admit(inspect(bytes, sidecar, 1 << 20), policy);
}

const limits = (change: Partial<typeof DEFAULT_GUEST_LIMITS>) => ({ ...DEFAULT_GUEST_LIMITS, ...change });

describe("admit", () => {
  it("takes a minimal guest with the host's default limits", () => {
    expect(admitted(guestModule())).toMatchObject({ limits: DEFAULT_GUEST_LIMITS, grants: [], missing: [] });
  });

  it.each(Object.entries(REFUSED_MODULES))("refuses: %s", (_, { bytes, reason }) => {
    expect(() => admitted(bytes())).toThrow(expect.objectContaining({ code: "MODULE_REJECTED", message: expect.stringMatching(reason) as string }));
  });

  it.each(Object.keys(HOSTILE_MODULES))("takes what only shows when it runs: %s", (name) => {
    expect(admitted(HOSTILE_MODULES[name]!()).manifest.name).toBe("sample");
  });

  it("keeps no state that it could not keep whole", () => {
    const parts = { fields: "(table $t 2 2 funcref)", call: `(table.set $t (i32.const 0) (ref.null func)) ${DONE}` };
    expect(() => admitted(guestModule({ durability: "message" }, parts))).toThrow(/changes a table while it runs; say durability "none"/);
    expect(admitted(guestModule({ durability: "none" }, parts)).manifest.durability).toBe("none");
  });

  it.each([
    ["two memories of which one is imported", { imports: '(import "env" "memory" (memory 1))', memory: "" }, /imports "env\.memory"/],
    ["an imported global", { imports: '(import "env" "g" (global i32))' }, /imports "env\.g"/],
    ["an imported table", { imports: '(import "env" "t" (table 1 funcref))' }, /imports "env\.t"/],
    ["a known import of another kind", { imports: '(import "sirsi" "log" (global i32))' }, /as a global and it is a function/],
    ["a memory that is a function", { memory: '(memory 1) (func (export "memory"))' }, /does not export its memory/],
    ["an export that is no function", { abi: '(global (export "sirsi_abi") i32 (i32.const 1))' }, /sirsi_abi is not a function/],
    ["a long list of wrong parameters", { abi: `(func (export "sirsi_abi") (param ${"i32 ".repeat(20)}) (result i32) (i32.const 1))` }, /i32, …\)/],
    ["a big table that is filled", { fields: "(table $t 9999 9999 funcref)", call: `(table.fill $t (i32.const 0) (ref.null func) (i32.const 1)) ${DONE}` }, /may reach 9999 entries/],
    ["too many tables", { fields: "(table 1 funcref)".repeat(17) }, /17 tables/],
    ["a big passive segment", { fields: `(data $d "${"x".repeat(70_000)}")`, call: `(memory.init $d (i32.const 0) (i32.const 0) (i32.const 1)) ${DONE}` }, /passive data segment of 70000 bytes/],
    ["memory.fill beside passive segments", { fields: '(data $d "abc")', call: `(memory.init $d (i32.const 0) (i32.const 0) (i32.const 1)) (memory.fill (i32.const 0) (i32.const 1) (i32.const 2)) ${DONE}` }, /cannot be metered/],
  ])("refuses %s", (_, parts, reason) => {
    expect(() => admitted(guestModule({}, parts))).toThrow(reason);
  });

  it("lets a manifest ask for limits up to the policy's and no further", () => {
    const policy = testPolicy({ limitsMax: limits({ mailboxDepth: 5_000 }) });
    expect(admitted(guestModule({ limits: { mailboxDepth: 5_000 } }), policy).limits.mailboxDepth).toBe(5_000);
    expect(() => admitted(guestModule({ limits: { mailboxDepth: 5_001 } }), policy)).toThrow(/asks for mailboxDepth = 5001 and this host allows 5000/);
  });

  it("keeps a default within the policy's maximum", () => {
    const policy = testPolicy({ limitsMax: limits({ fuelPerStep: 20_000 }) });
    expect(admitted(guestModule(), policy).limits.fuelPerStep).toBe(20_000);
  });

  it("narrows limits by the sidecar and never widens them", () => {
    const bytes = guestModule({ limits: { mailboxDepth: 100 } });
    expect(admitted(bytes, testPolicy(), "[limits]\nmailbox_depth = 10").limits.mailboxDepth).toBe(10);
    expect(admitted(bytes, testPolicy(), "[limits]\noutbox_count = 10").limits.outboxCount).toBe(10);
    expect(() => admitted(bytes, testPolicy(), "[limits]\nmailbox_depth = 101")).toThrow(/a sidecar may only narrow/);
    expect(() => admitted(bytes, testPolicy(), "[limits]\noutbox_count = 1001")).toThrow(/a sidecar may only narrow/);
  });

  it("takes a manifest that asks for too much when the sidecar narrows it enough", () => {
    const bytes = guestModule({ limits: { mailboxDepth: 5_000 } });
    expect(admitted(bytes, testPolicy(), "[limits]\nmailbox_depth = 900").limits.mailboxDepth).toBe(900);
    expect(() => admitted(bytes, testPolicy(), "[limits]\nmailbox_depth = 2000")).toThrow(/this host allows 1000/);
  });

  it("sets the durability that the sidecar says, weaker or stronger", () => {
    expect(admitted(guestModule({ durability: "wait" }), testPolicy(), 'durability = "none"').manifest.durability).toBe("none");
    expect(admitted(guestModule({ durability: "none" }), testPolicy(), 'durability = "wait"').manifest.durability).toBe("wait");
  });

  it("drops requests by the sidecar and never adds one", () => {
    const bytes = guestModule({ requests: ["ask", "sleep"] });
    expect(admitted(bytes, testPolicy(), "requests = ['ask']")).toMatchObject({ grants: ["ask"], missing: [], manifest: { requests: ["ask"] } });
    expect(() => admitted(waitingModule(), testPolicy(), "requests = ['ask', 'sleep']")).toThrow(/may only drop requests/);
  });

  it("tells which requests were not granted", () => {
    expect(admitted(guestModule({ requests: ["sleep", "ask"] }))).toMatchObject({ grants: ["ask"], missing: ["sleep"] });
  });

  it("takes a module's own grants in place of the default ones", () => {
    const policy = testPolicy({ grants: { sample: ["sleep"], "": ["ask"] } });
    expect(admitted(guestModule({ requests: ["sleep", "ask"] }), policy)).toMatchObject({ grants: ["sleep"], missing: ["ask"] });
    expect(admitted(guestModule({ name: "constructor", requests: ["ask"] }), policy).grants).toEqual(["ask"]);
  });
});
