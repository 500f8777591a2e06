import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rename, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ManualClock } from "../../../runtime/core/clock.ts";
import { armFault } from "../../../runtime/core/fault-points.ts";
import { PREPARATION } from "../../../runtime/module/prepared.ts";
import { type CachedModule, PreparedCache, type PreparedName } from "../../../runtime/module/prepared-cache.ts";

const MODULE: CachedModule = { wasm: Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0), globals: [{ name: "sirsi:g0", type: "i64" }], canWait: true, prepareTimeMs: 12.5 };

const name = (digest: string, preparation = PREPARATION, memoryMaxBytes = 65_536): PreparedName => ({ digest, preparation, memoryMaxBytes });
const EARLIER = "sirsi-0/by-hand";

let directory = "";
let clock = new ManualClock();
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "sirsi-cache-"));
  clock = new ManualClock();
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const open = (maxBytes = 1_000_000) => new PreparedCache(join(directory, "cache"), maxBytes, clock);
const files = async () => (await readdir(join(directory, "cache"))).toSorted();

const file = (digest: string, preparation = PREPARATION) => `${digest}.${createHash("sha256").update(preparation).digest("hex").slice(0, 16)}.65536.prepared`;

describe("the cache of prepared modules", () => {
  it("gives back what was written, also to another process", async () => {
    expect(await open().write(name("a"), MODULE)).toBe(true);
    expect(await open().read(name("a"))).toEqual(MODULE);
  });

  it("has nothing that was not written", async () => {
    expect(await open().read(name("a"))).toBeNull();
  });

  it("keeps revisions, preparations and memory limits apart", async () => {
    await open().write(name("a"), MODULE);
    for (const other of [name("b"), name("a", EARLIER), name("a", PREPARATION, 131_072)]) expect(await open().read(other)).toBeNull();
  });

  it("gives what an earlier preparer made, under whichever memory limit, the newest", async () => {
    const narrow = { ...MODULE, prepareTimeMs: 1 };
    const wide = { ...MODULE, prepareTimeMs: 2 };
    await open().write(name("a", EARLIER), narrow);
    await open().write(name("a", EARLIER, 131_072), wide);
    for (const [at, bytes] of [65_536, 131_072].entries()) await utimes(join(directory, "cache", file("a", EARLIER).replace("65536", String(bytes))), at, at);
    expect(await open().get("a", EARLIER)).toEqual(wide);
    await rm(join(directory, "cache", file("a", EARLIER).replace("65536", "131072")));
    expect(await open().get("a", EARLIER)).toEqual(narrow);
    expect([await open().get("a", PREPARATION), await open().get("b", EARLIER)]).toEqual([null, null]);
  });

  it("does not take one module's entry for another's, whatever its file is called", async () => {
    await open().write(name("a"), MODULE);
    await rename(join(directory, "cache", file("a")), join(directory, "cache", file("b")));
    expect(await open().read(name("b"))).toBeNull();
    await open().write(name("a", EARLIER), MODULE);
    await rename(join(directory, "cache", file("a", EARLIER)), join(directory, "cache", file("b", EARLIER)));
    expect(await open().get("b", EARLIER)).toBeNull();
    expect(await files()).toEqual([]);
  });

  it("lets new entries drive out none that an earlier preparer made, which have room of their own", async () => {
    const big = { ...MODULE, wasm: new Uint8Array(1_000) };
    const cache = open(4_200);
    for (const [at, digest] of ["a", "b", "c", "d"].entries()) {
      await cache.write(name(digest, EARLIER), big);
      await utimes(join(directory, "cache", file(digest, EARLIER)), at, at);
    }
    for (const [at, digest] of ["a", "b", "c", "d"].entries()) {
      await cache.write(name(digest), big);
      await utimes(join(directory, "cache", file(digest)), at, at);
    }
    expect(await files()).toEqual(["b", "c", "d"].flatMap((digest) => [file(digest, EARLIER), file(digest)]).toSorted());
  });

  it("is left without the entry when it is cut off half-way, and takes it afterwards", async () => {
    armFault({ point: "cache.half-written", hit: 1, action: "fail" });
    try {
      expect(await open().write(name("a"), MODULE)).toBe(false);
      expect(await open().read(name("a"))).toBeNull();
      expect(await files()).toEqual([]);
    } finally {
      armFault(null);
    }
    expect(await open().write(name("a"), MODULE)).toBe(true);
    expect(await open().read(name("a"))).toEqual(MODULE);
  });

  it("ignores an entry that was altered in any byte, or cut short anywhere, and makes room for a sound one", async () => {
    await open().write(name("a"), MODULE);
    const path = join(directory, "cache", file("a"));
    const sound = await readFile(path);
    for (let at = 0; at < sound.length; at += 1) {
      const altered = Buffer.from(sound);
      altered[at]! ^= 1;
      await writeFile(path, altered);
      expect(await open().read(name("a"))).toBeNull();
      await writeFile(path, sound.subarray(0, at));
      expect(await open().read(name("a"))).toBeNull();
    }
    expect(await files()).toEqual([]);
    await open().write(name("a"), MODULE);
    expect(await open().read(name("a"))).toEqual(MODULE);
  });

  it("drops what was not used for longest when it is full", async () => {
    const big = { ...MODULE, wasm: new Uint8Array(1_000) };
    const cache = open(4_200);
    for (const [at, key] of ["a", "b", "c"].entries()) {
      await cache.write(name(key), big);
      await utimes(join(directory, "cache", file(key)), at, at);
    }
    await cache.read(name("a"));
    await cache.write(name("d"), big);
    expect(await files()).toEqual(["a", "c", "d"].map((digest) => file(digest)));
  });

  it("does not write what is larger than all its room", async () => {
    expect(await open(100).write(name("a"), MODULE)).toBe(false);
  });

  it("does without a directory that cannot be written", async () => {
    await writeFile(join(directory, "cache"), "a file in its place");
    expect(await open().write(name("a"), MODULE)).toBe(false);
    expect(await open().read(name("a"))).toBeNull();
  });

  it("clears what a crash left half-written", async () => {
    await open().write(name("a"), MODULE);
    await writeFile(join(directory, "cache", ".b.prepared.123.partial"), "half");
    await open().write(name("c"), MODULE);
    expect(await files()).toEqual(["a", "c"].map((digest) => file(digest)));
  });
});
