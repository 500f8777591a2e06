import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { PREPARED } from "../../runtime/contract/guest-abi.ts";
import { systemClock } from "../../runtime/core/clock.ts";
import { type Admission, type AdmissionConfig, openAdmission } from "../../runtime/module/admission.ts";
import type { AdmissionOutcome, AdmitOptions } from "../../runtime/module/admission-pipeline.ts";
import { PREPARATION } from "../../runtime/module/prepared.ts";
import { testPolicy } from "../support/module-policy.ts";
import { guestModule, oversizedModule, REFUSED_MODULES, truncatedModule, waitingModule, withManifest } from "../support/wat.ts";

const PLAIN: AdmitOptions = { sidecar: null, ungranted: "pending" };
const BROKEN = new URL("../support/broken-admission-thread.ts", import.meta.url);

let directory = "";
const open: Admission[] = [];
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "sirsi-admission-"));
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((admission) => admission.close()));
  await rm(directory, { recursive: true, force: true });
});

function start(change: Partial<AdmissionConfig> = {}): Admission {
  const admission = openAdmission({
    policy: testPolicy(), cacheDir: join(directory, "cache"), cacheMaxBytes: 1 << 24, moduleMaxBytes: 1 << 20, admitTimeoutMs: 30_000, clock: systemClock, ...change,
  });
  open.push(admission);
  return admission;
}

function reasonOf(outcome: AdmissionOutcome): string {
  return outcome.kind === "admitted" ? "" : `${outcome.error.code}: ${outcome.error.message}`;
}

describe("the admission thread", () => {
  it("makes a revision whose compiled module runs here", async () => {
    const outcome = await start().admit(waitingModule(), PLAIN);
    if (outcome.kind !== "admitted") expect.fail(reasonOf(outcome));
    const { revision } = outcome;
    expect(revision).toMatchObject({ preparation: PREPARATION, canWait: true, uncapturable: "", grants: ["ask"], imports: ["sirsi.request (func)"] });
    expect(revision.globals).toHaveLength(3);
    expect(revision.preparedSizeBytes).toBeGreaterThan(0);
    const { exports } = new WebAssembly.Instance(revision.compiled, { sirsi: { request: () => 0n }, [PREPARED.importModule]: { [PREPARED.refill]: () => 1000, [PREPARED.refused]: () => undefined } });
    expect((exports["sirsi_abi"] as () => number)()).toBe(1);
  });

  it("starts with the first module and stays", async () => {
    const admission = start();
    expect(admission.threadsStarted).toBe(0);
    await Promise.all([admission.admit(guestModule(), PLAIN), admission.admit(guestModule({ name: "other" }), PLAIN)]);
    await admission.admit(guestModule({ name: "third" }), PLAIN);
    expect(admission.threadsStarted).toBe(1);
  });

  it("does not load Binaryen for what the cache has, and does again when the entry is spoilt", async () => {
    const first = start();
    expect(await first.admit(guestModule(), PLAIN)).toMatchObject({ kind: "admitted", fromCache: false });
    expect(first.preparerLoaded).toBe(true);
    const second = start();
    expect(await second.admit(guestModule(), PLAIN)).toMatchObject({ kind: "admitted", fromCache: true });
    expect(second.preparerLoaded).toBe(false);
    const [entry] = await readdir(join(directory, "cache"));
    await writeFile(join(directory, "cache", entry!), "torn");
    expect(await second.admit(guestModule(), PLAIN)).toMatchObject({ kind: "admitted", fromCache: false });
    expect(await readdir(join(directory, "cache"))).toEqual([entry]);
  });

  it("keeps refusing with reasons and goes on", async () => {
    const admission = start();
    for (const { bytes, reason } of Object.values(REFUSED_MODULES)) {
      const outcome = await admission.admit(bytes(), PLAIN);
      expect(outcome).toMatchObject({ kind: "rejected", error: { code: "MODULE_REJECTED" } });
      expect(reasonOf(outcome)).toMatch(reason);
    }
    expect(reasonOf(await admission.admit(truncatedModule(), PLAIN))).toMatch(/not well-formed/);
    expect(reasonOf(await admission.admit(oversizedModule(1 << 20), PLAIN))).toMatch(/^MODULE_TOO_LARGE/);
    expect((await admission.admit(guestModule(), PLAIN)).kind).toBe("admitted");
    expect(admission.threadsStarted).toBe(1);
  });

  it("refuses what does not validate, with V8's words", async () => {
    const wasm = guestModule();
    const at = Buffer.from(wasm).indexOf(Uint8Array.of(0x42, 0x82, 0x80, 0x80, 0x80));
    expect(at).toBeGreaterThan(0);
    const wrong = wasm.slice();
    wrong.set([0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01], at);
    expect(reasonOf(await start().admit(wrong, PLAIN))).toMatch(/does not compile as it was delivered/);
  });

  it("lets what was not granted wait, or goes without it when agents live on it already", async () => {
    const admission = start();
    const bytes = waitingModule({ requests: ["ask", "sleep"] });
    const pending = await admission.admit(bytes, PLAIN);
    expect(pending).toMatchObject({ kind: "pending", missing: ["sleep"], error: { code: "MODULE_PENDING_APPROVAL" }, manifest: { name: "sample" } });
    expect(await admission.admit(bytes, { ...PLAIN, ungranted: "without" })).toMatchObject({ kind: "admitted", revision: { grants: ["ask"] } });
    admission.setPolicy(testPolicy({ defaultGrants: ["ask", "sleep"] }));
    expect(await admission.admit(bytes, PLAIN)).toMatchObject({ kind: "admitted", revision: { grants: ["ask", "sleep"] } });
    admission.setPolicy(testPolicy());
    expect(await admission.admit(bytes, { ...PLAIN, sidecar: "requests = ['ask']" })).toMatchObject({ kind: "admitted", revision: { grants: ["ask"] } });
  });

  it("refuses a module that nests without end and goes on", async () => {
    const depth = 200_000;
    const body = Buffer.concat([Uint8Array.of(0), Buffer.alloc(depth * 2, Uint8Array.of(0x02, 0x40)), Buffer.alloc(depth, 0x0b), Uint8Array.of(0x0b)]);
    const { assemble, guestText } = await import("../support/wat.ts");
    const marked = Buffer.from(assemble(guestText({ fields: '(func (export "deep") (nop) (nop) (nop))' })));
    const deep = replaceBody(marked, body);
    const admission = start();
    const outcome = await admission.admit(withManifest(deep, { name: "deep", version: "1.0.0" }), PLAIN);
    expect(["admitted", "rejected"]).toContain(outcome.kind);
    expect((await admission.admit(guestModule(), PLAIN)).kind).toBe("admitted");
  });
});

/** The module with its first function's body replaced. */
function replaceBody(wasm: Buffer, body: Uint8Array): Uint8Array {
  let at = 8;
  const parts: Uint8Array[] = [wasm.subarray(0, 8)];
  while (at < wasm.length) {
    const [length, bodyStart] = leb(wasm, at + 1);
    const end = bodyStart + length;
    if (wasm[at] === 10) {
      const [count, first] = leb(wasm, bodyStart);
      const [size, start] = leb(wasm, first);
      const inner = Buffer.concat([Uint8Array.from(encode(count)), Uint8Array.from(encode(body.length)), body, wasm.subarray(start + size, end)]);
      parts.push(Uint8Array.from([10, ...encode(inner.length)]), inner);
    } else parts.push(wasm.subarray(at, end));
    at = end;
  }
  return new Uint8Array(Buffer.concat(parts));
}

function leb(bytes: Buffer, start: number): [number, number] {
  let value = 0;
  let at = start;
  for (let shift = 0; ; shift += 7) {
    const byte = bytes[at++]!;
    value += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) return [value, at];
  }
}

function encode(value: number): number[] {
  return value < 128 ? [value] : [(value & 0x7f) | 0x80, ...encode(Math.floor(value / 128))];
}

describe("an admission thread that misbehaves", () => {
  const order = (what: number) => Uint8Array.of(0, 97, 115, 109, what);

  it("is ended at the deadline and replaced for the next module", async () => {
    const admission = start({ threadFile: BROKEN, admitTimeoutMs: 200 });
    const [hung, next] = await Promise.all([admission.admit(order(1), PLAIN), admission.admit(order(9), PLAIN)]);
    expect(hung).toMatchObject({ kind: "rejected", error: { code: "MODULE_TIMEOUT" } });
    expect(hung.kind === "rejected" && hung.digest).toHaveLength(64);
    expect(reasonOf(next)).toBe("MODULE_REJECTED: answered");
    expect(admission.threadsStarted).toBe(2);
  });

  it("costs its module a refusal when it dies or runs out of memory", async () => {
    const admission = start({ threadFile: BROKEN });
    expect(reasonOf(await admission.admit(order(2), PLAIN))).toMatch(/MODULE_REJECTED: the admission thread died on it/);
    expect(reasonOf(await admission.admit(order(3), PLAIN))).toMatch(/died on it \(.*memory/i);
    expect(reasonOf(await admission.admit(order(9), PLAIN))).toBe("MODULE_REJECTED: answered");
    expect(admission.threadsStarted).toBe(3);
  });

  it("is replaced when it says that it is spoilt", async () => {
    const admission = start({ threadFile: BROKEN });
    await admission.admit(order(5), PLAIN);
    await admission.admit(order(9), PLAIN);
    expect(admission.threadsStarted).toBe(2);
  });

  it("does not keep closing waiting, and what waits is told", async () => {
    const admission = start({ threadFile: BROKEN });
    const waiting = [admission.admit(order(1), PLAIN), admission.admit(order(9), PLAIN)].map((promise) => promise.catch((thrown: unknown) => thrown));
    await admission.close();
    await admission.close();
    for (const end of await Promise.all(waiting)) expect(end).toMatchObject({ code: "SHUTTING_DOWN" });
    await expect(admission.admit(order(9), PLAIN)).rejects.toMatchObject({ code: "SHUTTING_DOWN" });
  });
});
