import { describe, expect, it } from "vitest";
import { ModuleEntry } from "../../../runtime/module/module-entry.ts";
import type { LedgerRevision } from "../../../runtime/module/module-ledger.ts";
import { SerialLanes } from "../../../runtime/module/serial-lanes.ts";

const digest = (letter: string) => letter.repeat(64);
const record = (letter: string, state: LedgerRevision["state"]): LedgerRevision => ({ digest: digest(letter), module: "m", version: "1.0.0", state, reason: "", sizeBytes: 1, installedAt: 1 });
const entry = (...records: LedgerRevision[]) => ModuleEntry.restored({ module: "m", activeDigest: digest("a"), retired: false, file: "m.wasm" }, records);

describe("a module's rollback target", () => {
  it("is the newest superseded revision, or the one that is named by its beginning", () => {
    const module = entry(record("f", "REJECTED"), record("a", "ACTIVE"), record("b", "SUPERSEDED"), record("c", "SUPERSEDED"));
    expect(module.rollbackTarget(null).digest).toBe(digest("b"));
    expect(module.rollbackTarget("cccccccc").digest).toBe(digest("c"));
    expect(module.rollbackTarget(digest("c")).digest).toBe(digest("c"));
  });

  it.each([
    [null, "MODULE_NO_PREVIOUS"],
    ["aaaaaaaa", "MODULE_NO_PREVIOUS"],
    ["ffffffff", "MODULE_NO_PREVIOUS"],
    ["bbb", "INVALID_ARGUMENT"],
    ["BBBBBBBB", "INVALID_ARGUMENT"],
  ])("is refused for %s", (wanted, code) => {
    expect(() => entry(record("a", "ACTIVE"), record("f", "REJECTED")).rollbackTarget(wanted)).toThrow(expect.objectContaining({ code }));
  });

  it("is refused when the beginning fits two", () => {
    const twin = { ...record("b", "SUPERSEDED"), digest: "b".repeat(63) + "c" };
    expect(() => entry(record("b", "SUPERSEDED"), twin).rollbackTarget("bbbbbbbb")).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  });
});

describe("a restored module", () => {
  it("believes its own record when two revisions say that they are active", () => {
    const module = entry(record("b", "ACTIVE"), record("a", "ACTIVE"));
    expect(module.activeDigest).toBe(digest("a"));
    expect(module.superseded().map((other) => other.digest)).toEqual([digest("b")]);
  });
});

describe("serial lanes", () => {
  it("run one lane's work in order and lanes side by side, past failures", async () => {
    const lanes = new SerialLanes();
    const done: string[] = [];
    const gate = Promise.withResolvers<void>();
    const first = lanes.run("a", async () => {
      await gate.promise;
      done.push("a1");
      throw new RangeError("a1 failed");
    });
    const second = lanes.run("a", async () => void done.push("a2"));
    await lanes.run("b", async () => void done.push("b1"));
    expect(done).toEqual(["b1"]);
    gate.resolve();
    await expect(first).rejects.toThrow("a1 failed");
    await second;
    expect(done).toEqual(["b1", "a1", "a2"]);
    await lanes.idle();
  });
});
