import { appendFile, mkdir, mkdtemp, open, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { systemClock } from "../../runtime/core/clock.ts";
import { ModuleDirectory } from "../../runtime/module/module-directory.ts";
import { type DirectoryWatcher, watchDirectory } from "../../runtime/module/watcher.ts";

let directory = "";
let watcher: DirectoryWatcher;
let events: string[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "sirsi-watch-"));
  events = [];
  await writeFile(join(directory, "before.wasm"), "was there");
  watcher = await watchDirectory(directory, {
    changed: (file) => void events.push(`changed ${file}`),
    removed: (file) => void events.push(`removed ${file}`),
    failed: (error) => void events.push(`failed ${error.message}`),
  });
});
afterEach(async () => {
  await watcher.close();
  await rm(directory, { recursive: true, force: true });
});

const at = (name: string) => join(directory, name);
const told = (event: string, times = 1) => vi.waitFor(() => expect(events.filter((other) => other === event)).toHaveLength(times), { timeout: 5_000, interval: 10 });

describe("the directory watcher", () => {
  it("tells of files that come, change and go, and not of those that were there", async () => {
    await writeFile(at("a.wasm"), "one");
    await told("changed a.wasm");
    await writeFile(at("a.wasm"), "another");
    await told("changed a.wasm", 2);
    await rm(at("a.wasm"));
    await told("removed a.wasm");
    expect(events).not.toContain("changed before.wasm");
  });

  it("leaves a file alone while it is being written", async () => {
    const file = await open(at("slow.wasm"), "w");
    const started = systemClock.monotonic();
    while (systemClock.monotonic() - started < 600) await file.write("chunk");
    expect(events).toEqual([]);
    await file.close();
    await told("changed slow.wasm");
  });

  it("tells again when a file that paused half-written is completed", async () => {
    await writeFile(at("half.wasm"), "half");
    await told("changed half.wasm");
    await appendFile(at("half.wasm"), " and the rest");
    await told("changed half.wasm", 2);
  });

  it("tells of an atomic rename, also over a file", async () => {
    await writeFile(at(".new"), "new");
    await rename(at(".new"), at("before.wasm"));
    await told("changed before.wasm");
    await writeFile(at(".new"), "newer");
    await rename(at(".new"), at("fresh.wasm"));
    await told("changed fresh.wasm");
  });

  it("tells of a sidecar as of its module", async () => {
    await writeFile(at("before.toml"), "durability = 'none'");
    await told("changed before.wasm");
    await rm(at("before.toml"));
    await told("changed before.wasm", 2);
  });

  it("passes over other names and sub-directories", async () => {
    await mkdir(at("sub"));
    await writeFile(at("sub/inner.wasm"), "x");
    await writeFile(at("notes.txt"), "x");
    await writeFile(at(".hidden.wasm"), "x");
    await writeFile(at("last.wasm"), "x");
    await told("changed last.wasm");
    expect(events).toEqual(["changed last.wasm"]);
  });
});

describe("the module directory", () => {
  const modules = () => new ModuleDirectory(directory, 100);

  it("lists module files alone, sorted", async () => {
    await Promise.all(["b.wasm", "a.wasm", ".c.wasm", "d.txt", ".wasm"].map((name) => writeFile(at(name), "x")));
    await mkdir(at("e.wasm"));
    expect(await modules().list()).toEqual(["a.wasm", "b.wasm", "before.wasm"]);
  });

  it("follows a link that stays inside and refuses one that leads out", async () => {
    const outside = await mkdtemp(join(tmpdir(), "sirsi-outside-"));
    await writeFile(join(outside, "secret.wasm"), "secret");
    await symlink(join(outside, "secret.wasm"), at("out.wasm"));
    await symlink("before.wasm", at("in.wasm"));
    expect(Buffer.from((await modules().read("in.wasm"))!.bytes).toString()).toBe("was there");
    await expect(modules().read("out.wasm")).rejects.toMatchObject({ code: "MODULE_REJECTED", message: expect.stringContaining("leads out of") as string });
    await rm(outside, { recursive: true });
  });

  it("has nothing where no file is, and refuses what is too large or no file", async () => {
    expect(await modules().read("none.wasm")).toBeNull();
    await writeFile(at("large.wasm"), new Uint8Array(101));
    await expect(modules().read("large.wasm")).rejects.toMatchObject({ code: "MODULE_TOO_LARGE" });
    await mkdir(at("dir.wasm"));
    await expect(modules().read("dir.wasm")).rejects.toMatchObject({ code: "MODULE_REJECTED" });
  });

  it("reads the sidecar beside the file", async () => {
    await writeFile(at("before.toml"), "durability = 'none'");
    expect((await modules().read("before.wasm"))?.sidecar).toBe("durability = 'none'");
  });

  it("says so when it cannot be written", async () => {
    await mkdir(at("taken.wasm"));
    await expect(modules().write("taken.wasm", new Uint8Array(1))).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    await expect(modules().remove("taken.wasm")).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
  });
});
