import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { builtAgent } from "../support/built-agents.ts";
import { cli } from "../support/cli-run.ts";

const launcher = fileURLToPath(new URL("../../scripts/sirsi.js", import.meta.url));
const place = mkdtempSync(join(tmpdir(), "sirsi-cli-host-"));
const running = new Set<ChildProcess>();

beforeAll(async () => {
  mkdirSync(join(place, "modules"));
  for (const name of ["echo", "counter"]) copyFileSync((await builtAgent(name)).file, join(place, "modules", `${name}.wasm`));
});
afterEach(() => {
  for (const child of running) child.kill("SIGKILL");
});
afterAll(() => rmSync(place, { recursive: true }));

interface Served {
  readonly address: string;
  /** SIGTERM; answers the exit code. */
  stop(): Promise<number | null>;
}

/** `sirsi serve` as its own process, once it says it is ready. */
function serve(): Promise<Served> {
  const readyFile = join(place, "ready.json");
  const child = spawn(
    process.execPath,
    [launcher, "serve", "--data-dir", "data", "--modules", "modules", "--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--log-level", "warn", "--ready-file", readyFile],
    { cwd: place, stdio: ["ignore", "pipe", "pipe"] },
  );
  running.add(child);
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  void ended.then(() => running.delete(child));
  let text = "";
  return new Promise((resolve, reject) => {
    const read = (chunk: Buffer) => {
      text += chunk.toString();
      if (!text.includes("try, in another terminal")) return;
      child.stdout.off("data", read).resume();
      child.stderr.off("data", read).resume();
      const { grpc } = JSON.parse(readFileSync(readyFile, "utf8")) as { grpc: string };
      resolve({
        address: grpc,
        stop() {
          child.kill("SIGTERM");
          return ended;
        },
      });
    };
    child.stdout.on("data", read);
    child.stderr.on("data", read);
    void ended.then((code) => reject(new Error(`serve ended with ${code}:\n${text}`)));
  });
}

describe("the command against a real host", () => {
  it("opens a session, spawns an agent, talks to it, and finds it again after a restart", async () => {
    const first = await serve();
    const env = { SIRSI_ADDRESS: first.address };
    const session = (await cli(["session", "create", "--user", "ada", "-q"], { env })).stdout.trim();
    const agent = (await cli(["agent", "create", "counter", "-q"], { env })).stdout.trim();
    expect((await cli(["agent", "send", agent, "add", "2", "-q"], { env })).code).toBe(0);
    expect((await cli(["agent", "chat", agent], { env, stdin: "add 3\n" })).code).toBe(0);
    expect((await cli(["agent", "list", "--filter", 'agent_type == "counter"', "-q"], { env })).stdout).toBe(`${agent}\n`);
    const events = await cli(["events", "--from", "1", "--max", "2", "-o", "json"], { env });
    const [, spawned] = events.stdout.trim().split("\n").map((line) => JSON.parse(line) as { eventType: string; sequence: string });
    expect((await cli(["events", "--from", spawned?.sequence ?? "", "--max", "1", "-o", "json"], { env })).stdout).toContain(`"sequence":"${spawned?.sequence}"`);
    const before = (await cli(["agent", "show", agent, "-o", "json"], { env })).stdout;
    expect(await first.stop()).toBe(0);
    expect(existsSync(join(place, "ready.json"))).toBe(false);

    const second = await serve();
    const again = { SIRSI_ADDRESS: second.address, SIRSI_SESSION: session };
    const after = (await cli(["agent", "show", agent, "-o", "json"], { env: again })).stdout;
    const processed = (json: string) => (JSON.parse(json) as { metrics: { messagesProcessed: string } }).metrics.messagesProcessed;
    expect(processed(after)).toBe(processed(before));
    expect(await cli(["agent", "send", agent, "add", "1"], { env: again })).toMatchObject({ code: 0 });
    expect(await second.stop()).toBe(0);
  });

  it("ends with the promised codes when the host refuses", async () => {
    const host = await serve();
    const env = { SIRSI_ADDRESS: host.address };
    const session = (await cli(["session", "create", "-q"], { env })).stdout.trim();
    const inSession = { ...env, SIRSI_SESSION: session };
    expect((await cli(["agent", "create", "nothing"], { env: inSession })).code).toBe(3);
    expect((await cli(["agent", "show", "01a20551-4544-7072-8bc9-91cef58cd802"], { env: inSession })).code).toBe(3);
    expect((await cli(["agent", "list", "--filter", "state =="], { env: inSession })).code).toBe(4);
    expect((await cli(["module", "install", join(place, "ready.json")], { env })).code).toBe(4);
    expect((await cli(["module", "rollback", "echo"], { env })).code).toBe(4);
    expect((await cli(["session", "delete", session], { env })).code).toBe(0);
    expect((await cli(["agent", "create", "echo"], { env: inSession })).code).toBe(4);
    expect((await cli(["health"], { env })).code).toBe(0);
    expect((await cli(["doctor", "--grpc-listen", host.address, "--http-listen", "127.0.0.1:0", "--modules", "modules"], { env, cwd: place })).code).toBe(0);
    expect(await host.stop()).toBe(0);
  });
});
