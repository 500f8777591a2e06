/** The commands about hosts and their fleet, against a host whose answers are written down. */
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { CannedFailure, startCannedHost } from "../support/canned-host.ts";
import type { CannedHost } from "../support/canned-host.ts";
import { cli } from "../support/cli-run.ts";

let host: CannedHost;
/** Requests of the RPC under test, in order. */
let asked: Record<string, unknown>[];

beforeAll(async () => {
  host = await startCannedHost({});
});
afterAll(async () => {
  await host[Symbol.asyncDispose]();
});
beforeEach(() => {
  asked = [];
  host.handlers = {};
});

const run = (...argv: string[]) => cli(["--address", host.address, ...argv]);

const A = {
  hostId: "id-a",
  name: "h1",
  zone: "z1",
  labels: { disk: "ssd" },
  grpcAddress: "127.0.0.1:1",
  httpAddress: "127.0.0.1:2",
  version: "1.2.3",
  state: "active",
  joinedAt: timestampFromMs(Date.UTC(2026, 0, 2, 3, 4, 5)),
  leaseLeftMs: 2_100n,
  agents: 20n,
  residentAgents: 12n,
  residentBytes: 3n * 1024n * 1024n,
  capacity: 8_000n,
  cpu: 0.254,
  self: true,
};
const B = { ...A, hostId: "id-b", name: "h2\u001b[31m", zone: "", state: "draining", agents: 3n, self: false };

describe("sirsi host", () => {
  it("list shows every host on a line, marks the one asked, and lets none steer the terminal", async () => {
    host.handlers.listHosts = () => ({ hosts: [A, B] });
    const result = await run("host", "list");
    expect(result).toEqual({
      code: 0,
      stdout:
        "HOST        STATE     ZONE  AGENTS  IN MEMORY  SIZE     CPU  VERSION  GRPC\n" +
        "h1 (asked)  active    z1    20      12/8000    3.0 MiB  25%  1.2.3    127.0.0.1:1\n" +
        "h2\ufffd[31m     draining  -     3       12/8000    3.0 MiB  25%  1.2.3    127.0.0.1:1\n",
      stderr: "",
    });
    expect((await run("host", "list", "--quiet")).stdout.split("\n")[0]).toBe("h1");
    expect(JSON.parse((await run("host", "list", "-o", "json")).stdout)).toMatchObject({ hosts: [{ name: "h1", agents: "20", self: true }, { hostId: "id-b" }] });
  });

  it("show tells all of one host, or of the one that answers", async () => {
    host.handlers.getHost = (request) => {
      asked.push({ ...request });
      return { host: A };
    };
    const { code, stdout } = await run("host", "show", "h1");
    expect(code).toBe(0);
    for (const line of ["id       id-a", "labels   disk=ssd", "joined   2026-01-02 03:04:05Z", "lease    2100 ms left", "agents   20, 12 of them in memory; it takes 8000 there", "cpu      25%"]) expect(stdout).toContain(`${line}\n`);
    expect((await run("host", "show", "--quiet")).stdout).toBe("h1\n");
    expect(asked).toMatchObject([{ host: "h1" }, { host: "" }]);
  });

  it("show of a host that is not there ends with 3", async () => {
    host.handlers.getHost = () => {
      throw new CannedFailure("HOST_NOT_FOUND", "no live host has the id or the name h9; there are h1");
    };
    expect(await run("host", "show", "h9")).toMatchObject({ code: 3, stderr: expect.stringContaining("there are h1") });
  });

  it("drain tells each change, and at its end how long agents paused", async () => {
    host.handlers.drainHost = async function* (request) {
      asked.push({ ...request });
      yield { moved: 0n, left: 3n };
      yield { moved: 0n, left: 3n };
      yield { moved: 2n, left: 1n, failed: 1n, lastFailure: "agent a-1: it computes" };
      yield { moved: 3n, left: 0n, done: true, elapsedMs: 1_240n, pauseP50Ms: 1.25, pauseP99Ms: 3, pauseMaxMs: 4.04 };
    };
    const result = await run("host", "drain", "h1");
    expect(result).toEqual({
      code: 0,
      stdout: "host h1 is drained: 3 agents moved in 1.2 s; those in memory paused 1.3/3.0/4.0 ms (p50/p99/most)\n",
      stderr: "moved 0, left 3\nmoved 2, left 1, 1 cannot go yet (agent a-1: it computes)\n",
    });
    expect(asked).toMatchObject([{ host: "h1" }]);
    expect(await run("host", "drain", "h1", "--quiet")).toEqual({ code: 0, stdout: "", stderr: "" });
    const lines = (await run("host", "drain", "h1", "-o", "json")).stdout.trim().split("\n");
    expect(lines.map((line) => JSON.parse(line) as unknown)).toMatchObject([{ left: "3" }, { left: "3" }, { failed: "1" }, { moved: "3", done: true }]);
  });

  it("drain that was given up ends with 4, and one that nobody tells the end of with 1", async () => {
    host.handlers.drainHost = async function* () {
      yield { moved: 1n, left: 2n, done: true, lastFailure: "agent a-1: it computes" };
    };
    expect(await run("host", "drain", "h1")).toMatchObject({ code: 4, stdout: "", stderr: "the drain of host h1 was given up: 2 agents are still there; the last that could not go: agent a-1: it computes\n" });
    host.handlers.drainHost = async function* () {
      yield { moved: 1n, left: 2n };
    };
    expect(await run("host", "drain", "h1")).toMatchObject({ code: 1, stderr: expect.stringContaining("see `sirsi host show h1`") });
  });

  it("drain of a host in no fleet ends with 4 and says how to have one", async () => {
    host.handlers.drainHost = () => {
      throw new CannedFailure("NOT_IN_FLEET", "this host is in no fleet");
    };
    expect(await run("host", "drain", "h1")).toMatchObject({ code: 4, stderr: expect.stringContaining("start it with `sirsi serve --fleet`") });
  });

  it("undrain says that the host is back", async () => {
    host.handlers.undrainHost = (request) => {
      asked.push({ ...request });
      return { host: A };
    };
    expect(await run("host", "undrain", "id-a")).toEqual({ code: 0, stdout: "", stderr: "host h1 takes agents again\n" });
    expect(JSON.parse((await run("host", "undrain", "id-a", "-o", "json")).stdout)).toMatchObject({ host: { name: "h1" } });
    expect(asked).toMatchObject([{ host: "id-a" }, { host: "id-a" }]);
  });
});

describe("sirsi fleet status", () => {
  const FLEET = { inFleet: true, hosts: [A, B], orphans: 4n, servers: { store: "", bus: "" }, modules: [{ module: "echo", version: "1.0.0", digest: "d".repeat(64), generation: 2n, differingHosts: ["h2"] }, { module: "old", generation: 3n }] };

  it("shows servers, hosts, agents and modules in one look", async () => {
    host.handlers.getFleet = () => FLEET;
    const { code, stdout } = await run("fleet", "status");
    expect(code).toBe(0);
    expect(stdout).toMatch(/^fleet {3}2 hosts\nagents {2}23, and 4 of nobody at the moment\nbus {5}ok\nstore {3}ok\n\nHOST/);
    expect(stdout).toContain("MODULE  VERSION  REVISION      CHANGE  DIFFERING\necho    1.0.0    dddddddddddd  2       h2\nold     removed  -             3       -\n");
    expect((await run("fleet", "status", "--quiet")).stdout.split("\n")[0]).toBe("h1");
    expect(JSON.parse((await run("fleet", "status", "-o", "json")).stdout)).toMatchObject({ inFleet: true, orphans: "4" });
  });

  it("ends with 1 when a server is not well, and names it", async () => {
    host.handlers.getFleet = () => ({ ...FLEET, servers: { store: "", context: "cannot be reached" } });
    expect(await run("fleet", "status")).toMatchObject({ code: 1, stdout: expect.stringContaining("context  cannot be reached\n") });
  });

  it("of a host in no fleet shows that host", async () => {
    host.handlers.getFleet = () => ({ inFleet: false, hosts: [A] });
    const { code, stdout } = await run("fleet", "status");
    expect([code, stdout.split("\n").slice(0, 2)]).toEqual([0, ["fleet   none: this host is on its own", "agents  20"]]);
    expect(stdout).not.toContain("MODULE");
  });
});

describe("sirsi agent move", () => {
  it("tells where the agent is and how long it paused, or that it was there", async () => {
    host.handlers.moveAgent = (request) => {
      asked.push({ ...request });
      return { host: A, stayed: request.host === "", pauseMs: 3.21 };
    };
    expect(await run("agent", "move", "a-1", "--to", "h1")).toEqual({ code: 0, stdout: "agent a-1 is on h1 now; it paused 3.2 ms\n", stderr: "" });
    expect((await run("agent", "move", "a-1")).stdout).toBe("agent a-1 is on h1 already\n");
    expect((await run("agent", "move", "a-1", "--quiet")).stdout).toBe("h1\n");
    expect(asked).toMatchObject([{ agentId: "a-1", host: "h1" }, { host: "" }, { host: "" }]);
  });

  it("that has to be tried again ends with 5", async () => {
    host.handlers.moveAgent = () => {
      throw new CannedFailure("OVERLOADED", "agent a-1 did not move: it computes; try again", { retryAfterMs: 500 });
    };
    expect((await run("agent", "move", "a-1")).code).toBe(5);
  });
});
