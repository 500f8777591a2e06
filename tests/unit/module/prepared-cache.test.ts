import { mkdtemp, readdir, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ManualClock } from "../../../runtime/core/clock.ts";
import { type CachedModule, PreparedCache } from "../../../runtime/module/prepared-cache.ts";

const MODULE: CachedModule = { wasm: Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0), globals: [{ name: "sirsi:g0", type: "i64" }], canWait: true, prepareTimeMs: 12.5 };

let directory = "";
let clock = new ManualClock();
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "sirsi-cache-"));
  clock = new ManualClock();
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const open = (maxBytes = 1_000_000) => new PreparedCache(join(directory, "cache"), maxBytes, clock);
const files = async () => (await readdir(join(directory, "cache"))).toSorted();

describe("the cache of prepared modules", () => {
  it("gives back what was written, also to another process", async () => {
    expect(await open().write("a", MODULE)).toBe(true);
    expect(await open().read("a")).toEqual(MODULE);
  });

  it("has nothing that was not written", async () => {
    expect(await open().read("a")).toBeNull();
  });

  it("keeps revisions, preparations and memory limits apart", () => {
    expect(PreparedCache.key("d", 65_536)).not.toBe(PreparedCache.key("d", 131_072));
    expect(PreparedCache.key("d", 65_536)).not.toBe(PreparedCache.key("e", 65_536));
  });

  it("ignores an entry that was altered in any byte, or cut short anywhere, and makes room for a sound one", async () => {
    await open().write("a", MODULE);
    const path = join(directory, "cache", "a.prepared");
    const sound = await readFile(path);
    for (let at = 0; at < sound.length; at += 1) {
      const altered = Buffer.from(sound);
      altered[at]! ^= 1;
      await writeFile(path, altered);
      expect(await open().read("a")).toBeNull();
      await writeFile(path, sound.subarray(0, at));
      expect(await open().read("a")).toBeNull();
    }
    expect(await files()).toEqual([]);
    await open().write("a", MODULE);
    expect(await open().read("a")).toEqual(MODULE);
  });

  it("drops what was not used for longest when it is full", async () => {
    const big = { ...MODULE, wasm: new Uint8Array(1_000) };
    const cache = open(3_600);
    for (const [at, key] of ["a", "b", "c"].entries()) {
      await cache.write(key, big);
      await utimes(join(directory, "cache", `${key}.prepared`), at, at);
    }
    await cache.read("a");
    await cache.write("d", big);
    expect(await files()).toEqual(["a.prepared", "c.prepared", "d.prepared"]);
  });

  it("does not write what is larger than all its room", async () => {
    expect(await open(100).write("a", MODULE)).toBe(false);
  });

  it("does without a directory that cannot be written", async () => {
    await writeFile(join(directory, "cache"), "a file in its place");
    expect(await open().write("a", MODULE)).toBe(false);
    expect(await open().read("a")).toBeNull();
  });

  it("clears what a crash left half-written", async () => {
    await open().write("a", MODULE);
    await writeFile(join(directory, "cache", ".b.prepared.123.partial"), "half");
    await open().write("c", MODULE);
    expect(await files()).toEqual(["a.prepared", "c.prepared"]);
  });
});
