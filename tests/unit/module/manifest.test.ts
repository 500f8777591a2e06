import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { MANIFEST_SECTION } from "../../../runtime/contract/guest-abi.ts";
import { readManifest, readSidecar } from "../../../runtime/module/manifest.ts";
import { MANIFEST_SCHEMA } from "../../../runtime/module/manifest-schema.ts";
import type { Manifest } from "../../../runtime/module/revision.ts";

function manifest(value: unknown): Manifest {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return readManifest([{ name: "name", bytes: new Uint8Array(3) }, { name: MANIFEST_SECTION, bytes: Buffer.from(text) }]);
}

const LEAST = { name: "sample", version: "1.0.0" };

describe("a manifest", () => {
  it("is published as docs/manifest.schema.json", () => {
    const published = readFileSync(new URL("../../../docs/manifest.schema.json", import.meta.url), "utf8");
    expect(published).toBe(`${JSON.stringify(MANIFEST_SCHEMA, null, 2)}\n`);
  });

  it("gets its defaults filled in", () => {
    expect(manifest(LEAST)).toEqual({
      name: "sample", version: "1.0.0", abi: 1, displayName: "sample", description: "", durability: "wait", stateSchema: 1, onSwap: "migrate",
      restart: "permanent", supervision: "one_for_one", offers: [], requests: [], defaultConfig: {}, topics: [], placement: { labels: {} }, limits: {},
    });
  });

  it("gets the defaults of its offers filled in", () => {
    const { offers } = manifest({ ...LEAST, offers: [{ capabilityId: "echo", parameters: [{ name: "text" }] }] });
    expect(offers).toEqual([{ capabilityId: "echo", name: "", description: "", parameters: [{ name: "text", type: "string", description: "", required: false }] }]);
  });

  it("says which labels the hosts of its agents should have", () => {
    const placement = { labels: { gpu: "yes", zone: "eu-1" } };
    expect(manifest({ ...LEAST, placement }).placement).toEqual(placement);
    expect(manifest({ ...LEAST, placement: {} }).placement).toEqual({ labels: {} });
  });

  it("does not share defaults between modules", () => {
    const first = manifest(LEAST);
    (first.requests as string[]).push("ask");
    expect(manifest(LEAST).requests).toEqual([]);
  });

  it.each([
    [{ ...LEAST, durabilty: "wait" }, 'unknown key "durabilty" at the top level; did you mean "durability"?'],
    [{ ...LEAST, limits: { memory_max_bytes: 1 } }, 'unknown key "memory_max_bytes" at limits; did you mean "memoryMaxBytes"?'],
    [{ ...LEAST, qqqqqqqqqqqq: 1 }, "known are name, version"],
    [{ ...LEAST, durability: "always" }, "durability must be one of wait, message, interval, none"],
    [{ ...LEAST, abi: 2 }, "abi must be 1"],
    [{ version: "1.0.0" }, "must have required property 'name'"],
    [{ ...LEAST, name: "Sample" }, "name must match pattern"],
    [{ ...LEAST, name: "a".repeat(64) }, "name must match pattern"],
    [{ ...LEAST, version: "1.0" }, "version must match pattern"],
    [{ ...LEAST, topics: ["a.*"] }, "topics.0 must match pattern"],
    [{ ...LEAST, placement: { lables: {} } }, 'unknown key "lables" at placement; did you mean "labels"?'],
    [{ ...LEAST, placement: { labels: { gpu: 1 } } }, "placement.labels.gpu must be string"],
    [{ ...LEAST, placement: { labels: { "A b": "x" } } }, "placement.labels must match pattern"],
    [{ ...LEAST, limits: { fuelPerStep: 1 } }, "limits.fuelPerStep must be >= 10000"],
    [{ ...LEAST, requests: ["ask", "ask"] }, "requests must NOT have duplicate items"],
    [{ ...LEAST, offers: [{ capabilityId: "a" }, { capabilityId: "a" }] }, 'offers "a" twice'],
    [[], "the top level must be object"],
    ["{", "is not JSON in UTF-8"],
    [{ ...LEAST, description: "x".repeat(5_000) }, "description must NOT have more than 4096 characters"],
    ['{"name":"sample","version":"1.0.0","__proto__":{"abi":1}}', 'unknown key "__proto__"'],
  ])("is refused when it says %j", (value, reason) => {
    expect(() => manifest(value)).toThrow(expect.objectContaining({ code: "MODULE_REJECTED", message: expect.stringContaining(reason) as string }));
  });

  it("is refused when it is missing, double or huge", () => {
    const section = { name: MANIFEST_SECTION, bytes: Buffer.from(JSON.stringify(LEAST)) };
    expect(() => readManifest([])).toThrow(/no sirsi\.manifest section/);
    expect(() => readManifest([section, section])).toThrow(/2 sirsi\.manifest sections/);
    expect(() => readManifest([{ name: MANIFEST_SECTION, bytes: new Uint8Array(300_000) }])).toThrow(/may have 262144/);
  });
});

describe("a sidecar", () => {
  it("says durability, requests and limits, in TOML", () => {
    expect(readSidecar('durability = "none"\nrequests = ["ask"]\n[limits]\nmemory_max_bytes = 1_048_576\n')).toEqual({ durability: "none", requests: ["ask"], limits: { memoryMaxBytes: 1_048_576 } });
    expect(readSidecar("")).toEqual({ durability: null, requests: null, limits: {} });
  });

  it.each([
    ["durability = ", "is not TOML"],
    ['durability = "often"', "durability must be one of"],
    ["[limits]\nmemoryMaxBytes = 65536", 'did you mean "memory_max_bytes"?'],
    ["[limits]\nfuel_per_step = 1", "must be >= 10000"],
    ["name = 'other'", 'unknown key "name"'],
    [`#${" ".repeat(70_000)}`, "may have 65536"],
  ])("is refused when it says %j", (text, reason) => {
    expect(() => readSidecar(text)).toThrow(expect.objectContaining({ code: "MODULE_REJECTED", message: expect.stringContaining(reason) as string }));
  });
});
