import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { nodeCheck } from "../../runtime/cli/commands/doctor.ts";
import type { ServedHost, StartHost } from "../../runtime/cli/commands/serve.ts";
import { HealthStatus, ModuleState } from "../../runtime/client/index.ts";
import type { Config } from "../../runtime/config/index.ts";
import { ManualClock } from "../../runtime/core/clock.ts";
import { Deferred } from "../../runtime/core/deferred.ts";
import { SirsiError } from "../../runtime/core/errors.ts";
import { startCannedHost } from "../support/canned-host.ts";
import type { CannedHost } from "../support/canned-host.ts";
import { cli, startCli } from "../support/cli-run.ts";

const root = mkdtempSync(join(tmpdir(), "sirsi-serve-"));
let canned: CannedHost;

beforeAll(async () => {
  canned = await startCannedHost({
    listModules: () => ({
      modules: [
        { name: "echo", state: ModuleState.ACTIVE, active: { version: "1.0.0", manifestJson: '{"displayName":"Echo","description":"Says it again"}' } },
        { name: "broken", state: ModuleState.FAILED, lastError: "no memory export" },
      ],
    }),
    getSystemHealth: () => ({ health: { overallStatus: HealthStatus.HEALTHY } }),
  });
});
afterAll(async () => {
  await canned[Symbol.asyncDispose]();
  rmSync(root, { recursive: true });
});

/** Stands where the real host will: answers by the canned one, and notes how it is used. */
function fakeHost(drain: Promise<void> = Promise.resolve()) {
  const seen = { config: null as Config | null, closes: 0 };
  const closed = new Deferred<void>();
  const host: ServedHost = {
    grpcAddress: canned.address,
    httpAddress: "127.0.0.1:8080",
    closed: closed.promise,
    async close() {
      seen.closes += 1;
      await drain;
      closed.resolve();
    },
  };
  const startHost: StartHost = (config) => {
    seen.config = config;
    return Promise.resolve(host);
  };
  return { seen, closed, startHost };
}

describe("sirsi serve", () => {
  it("resolves its flags, says what is ready, and ends with 0 at a signal after a drain", async () => {
    const { seen, startHost } = fakeHost();
    const readyFile = join(root, "deep", "ready.json");
    const started = startCli(["serve", "--grpc-listen", "127.0.0.1:0", "--modules", "mods", "--data-dir", "data", "--log-level", "warn", "--ready-file", readyFile], { cwd: root, startHost });
    await started.printed("try, in another terminal");
    expect(seen.config).toMatchObject({ grpc: { listen: { port: 0 } }, modules: { directory: join(root, "mods") }, store: { dataDir: join(root, "data") }, log: { level: "warn" } });
    expect(JSON.parse(readFileSync(readyFile, "utf8"))).toEqual({ grpc: canned.address, http: "127.0.0.1:8080", pid: process.pid, version: expect.stringMatching(/^\d/) as string });
    expect(readdirSync(join(root, "deep"))).toEqual(["ready.json"]);
    started.signal();
    const result = await started.result;
    expect([result.code, seen.closes, existsSync(readyFile)]).toEqual([0, 1, false]);
    expect(result.stderr).toContain("draining");
    expect(result.stdout).toContain(`gRPC     ${canned.address}`);
    expect(result.stdout).toMatch(/AGENT TYPE {2}VERSION {2}NAME {2}DESCRIPTION\necho {8}1\.0\.0 {4}Echo {2}Says it again\nnot ready: broken: no memory export\n/);
    expect(result.stdout).toContain(`export SIRSI_ADDRESS=${canned.address}\n`);
  });

  it("stops at once at a second signal, without leaving the ready file; two in a breath are one", async () => {
    const never = new Deferred<void>();
    const { startHost } = fakeHost(never.promise);
    const clock = new ManualClock();
    const readyFile = join(root, "second.json");
    const started = startCli(["serve", "--quiet", "--ready-file", readyFile, "-o", "json"], { cwd: root, startHost, clock });
    await started.printed('"grpc"');
    started.signal();
    clock.advance(10);
    started.signal();
    expect(started.exited()).toBeNull();
    clock.advance(1_000);
    started.signal();
    expect([started.exited(), existsSync(readyFile)]).toEqual([130, false]);
    never.resolve();
    await started.result;
  });

  it("closes a host that was told to stop while it was starting, and never says ready", async () => {
    const { seen, startHost } = fakeHost();
    const [asked, go] = [new Deferred<void>(), new Deferred<void>()];
    const started = startCli(["serve", "--ready-file", join(root, "never.json")], {
      cwd: root,
      async startHost(config) {
        asked.resolve();
        await go.promise;
        return await startHost(config);
      },
    });
    await asked.promise;
    started.signal();
    go.resolve();
    const result = await started.result;
    expect([result.code, result.stdout, seen.closes, existsSync(join(root, "never.json"))]).toEqual([0, "", 1, false]);
  });

  it("ends with 1 when the host closes by itself", async () => {
    const { closed, startHost } = fakeHost();
    const started = startCli(["serve"], { cwd: root, startHost });
    await started.printed("is ready");
    closed.resolve();
    expect(await started.result).toMatchObject({ code: 1, stderr: expect.stringContaining("closed by itself") as string });
  });

  it("tells a start that failed, and a configuration that is wrong with 2", async () => {
    const startHost: StartHost = () => Promise.reject(new SirsiError("STORE_CORRUPT", "the database does not pass its checks"));
    expect(await cli(["serve"], { cwd: root, startHost })).toMatchObject({ code: 1, stderr: expect.stringContaining("STORE_CORRUPT") as string });
    expect(await cli(["serve", "--grpc-listen", "0.0.0.0:50051"], { cwd: root, startHost })).toMatchObject({ code: 2, stderr: expect.stringContaining("no TLS and no authentication") as string });
    expect((await cli(["serve", "--log-level", "loud"], { cwd: root, startHost })).code).toBe(2);
  });

  it("closes the host again when the ready file cannot be written", async () => {
    const { seen, startHost } = fakeHost();
    writeFileSync(join(root, "a-file"), "");
    const result = await cli(["serve", "--ready-file", join(root, "a-file", "ready.json")], { cwd: root, startHost });
    expect(result).toMatchObject({ code: 2, stderr: expect.stringContaining("cannot be written") as string });
    expect(seen.closes).toBe(1);
  });

  it("warns of variables that name nothing, and says when no agent is ready", async () => {
    const empty = await startCannedHost({ listModules: () => ({}) });
    try {
      const { startHost } = fakeHost();
      const started = startCli(["serve"], { cwd: root, env: { SIRSI_GRPC_LISEN: "x" }, startHost: async (config) => ({ ...(await startHost(config)), grpcAddress: empty.address }) });
      await started.printed("no agents are ready");
      started.signal();
      expect((await started.result).stderr).toContain("warning: the environment variable SIRSI_GRPC_LISEN");
    } finally {
      await empty[Symbol.asyncDispose]();
    }
  });
});

describe("sirsi config show", () => {
  it("prints every setting with where it came from", async () => {
    writeFileSync(join(root, "shown.toml"), "[shards]\ncount = 3\n");
    const args = ["config", "show", "--config", "shown.toml", "--log-level", "debug"];
    const result = await cli(args, { cwd: root, env: { SIRSI_SESSIONS_MAX: "9" } });
    expect(result.stdout).toMatch(new RegExp(`shards\\.count +3 +${join(root, "shown.toml")}:2\n`));
    expect(result.stdout).toMatch(/log\.level +"debug" +flag --log-level\n/);
    expect(result.stdout).toMatch(/sessions\.max +9 +env SIRSI_SESSIONS_MAX\n/);
    const json = JSON.parse((await cli([...args, "-o", "json"], { cwd: root })).stdout) as { settings: { key: string; value: unknown; source: string }[] };
    expect(json.settings.find((setting) => setting.key === "shards.count")).toEqual({ key: "shards.count", value: 3, source: `${join(root, "shown.toml")}:2` });
    expect((await cli([...args, "-q"], { cwd: root })).stdout).toContain('event_bus.topic_prefix = "sirsi.agents"\n');
  });
});

describe("sirsi doctor", () => {
  const free = ["--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"];

  it("is content with a sound place and a healthy host", async () => {
    mkdirSync(join(root, "sound", "modules"), { recursive: true });
    writeFileSync(join(root, "sound", "modules", "echo.wasm"), "");
    const result = await cli(["doctor", ...free, "--address", canned.address], { cwd: join(root, "sound") });
    expect(result).toMatchObject({ code: 0, stdout: expect.stringContaining("all is well") as string });
    expect(result.stdout).toMatch(/host {12}ok {6}HEALTHY at/);
  });

  it("takes a port that a running host uses for no fault", async () => {
    const result = await cli(["doctor", "--grpc-listen", canned.address, "--http-listen", "127.0.0.1:0"], { cwd: join(root, "sound"), env: { SIRSI_ADDRESS: canned.address } });
    expect(result.stdout).toMatch(/gRPC port +ok +.* is in use while a host runs/);
  });

  it("says what to do about modules that are missing and a host that does not answer", async () => {
    const result = await cli(["doctor", ...free, "--modules", "nowhere", "--address", "127.0.0.1:1"], { cwd: root });
    expect(result.code).toBe(0);
    expect(result.stdout).toMatch(/what to do:\n {2}modules: Make it.*\n {2}host: Start one with/);
    mkdirSync(join(root, "empty"));
    expect((await cli(["doctor", ...free, "--modules", "empty", "--address", "127.0.0.1:1"], { cwd: root })).stdout).toContain("no .wasm file in");
  });

  it("fails when another program has the port", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => other.once("listening", resolve));
    try {
      const port = (other.address() as AddressInfo).port;
      const result = await cli(["doctor", "--grpc-listen", "127.0.0.1:0", "--http-listen", `127.0.0.1:${port}`, "--address", "127.0.0.1:1", "-o", "json"], { cwd: root });
      expect(result.code).toBe(1);
      const { checks } = JSON.parse(result.stdout) as { checks: { name: string; result: string; finding: string }[] };
      expect(checks.find((check) => check.name === "HTTP port")).toMatchObject({ result: "failed", finding: expect.stringContaining("EADDRINUSE") as string });
    } finally {
      other.close();
    }
  });

  it("fails when the data directory cannot be made", async () => {
    writeFileSync(join(root, "no-directory"), "");
    const result = await cli(["doctor", ...free, "--data-dir", join("no-directory", "data"), "--address", "127.0.0.1:1"], { cwd: root });
    expect(result).toMatchObject({ code: 1, stdout: expect.stringMatching(/data directory +failed +.*no-directory is no directory/) as string });
  });

  it("knows which Node is new enough", () => {
    expect(nodeCheck("26.0.1").result).toBe("ok");
    expect(nodeCheck("24.9.0")).toMatchObject({ result: "failed", next: expect.stringContaining("npm ci") as string });
  });
});

describe("sirsi completion", () => {
  it("prints the script of the shell that is named", async () => {
    expect((await cli(["completion", "bash"])).stdout).toContain("complete -o default -F _sirsi sirsi");
    expect((await cli(["completion", "tcsh"])).code).toBe(2);
    expect((await cli(["completion"])).code).toBe(2);
  });
});
