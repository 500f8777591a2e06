import { spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startCannedHost } from "../support/canned-host.ts";
import type { CannedHost } from "../support/canned-host.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const launcher = join(root, "scripts", "sirsi.js");
const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };

/** Makes the launcher believe that it runs on an old Node; what it starts is told nothing. */
const OLD = `--import=data:text/javascript,${encodeURIComponent(
  'if (process.argv[1]?.endsWith("sirsi.js")) Object.defineProperty(process, "versions", { value: { ...process.versions, node: "20.1.0" } });',
)}`;

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function launch(script: string, args: readonly string[], options: { old?: boolean; onOutput?: (text: string, kill: (signal: NodeJS.Signals) => void) => void } = {}): Promise<Ended> {
  const child = spawn(process.execPath, [...(options.old === true ? [OLD] : []), script, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const text = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    child[name].setEncoding("utf8").on("data", (chunk: string) => {
      text[name] += chunk;
      options.onOutput?.(text.stdout + text.stderr, (signal) => child.kill(signal));
    });
  }
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, ...text }));
  });
}

describe("the launcher", () => {
  let host: CannedHost;
  const place = mkdtempSync(join(tmpdir(), "sirsi-launcher-"));
  beforeAll(async () => {
    host = await startCannedHost({
      getSystemHealth: () => ({}),
      streamEvents: async function* (_request, { signal }) {
        yield { event: { eventType: "AGENT_SPAWNED" } };
        await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
      },
    });
  });
  afterAll(async () => {
    await host[Symbol.asyncDispose]();
    rmSync(place, { recursive: true });
  });

  it.each([false, true])("runs the command and hands its exit code on (old Node: %s)", async (old) => {
    expect(await launch(launcher, ["--version"], { old })).toEqual({ code: 0, stdout: `${version}\n`, stderr: "" });
    expect((await launch(launcher, ["nope"], { old })).code).toBe(2);
  });

  it.each([false, true])("hands signals on (old Node: %s)", async (old) => {
    let told = false;
    const ended = await launch(launcher, ["events", "--session", "s", "--address", host.address], {
      old,
      onOutput(text, kill) {
        if (!told && text.includes("AGENT_SPAWNED")) {
          told = true;
          kill("SIGTERM");
        }
      },
    });
    expect(ended.code).toBe(130);
  });

  it("ends quietly when the reader of its output has seen enough", async () => {
    const child = spawn("bash", ["-c", `"${process.execPath}" "${launcher}" config show | head -1; exit \${PIPESTATUS[0]}`], { stdio: ["ignore", "pipe", "pipe"] });
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (chunk: string) => (stderr += chunk));
    child.stdout.resume();
    const code = await new Promise((resolve) => child.once("close", resolve));
    expect([code, stderr]).toEqual([0, ""]);
  });

  it("runs what was built where there are no sources, and explains a missing Node", async () => {
    mkdirSync(join(place, "scripts"));
    mkdirSync(join(place, "dist", "cli"), { recursive: true });
    writeFileSync(join(place, "package.json"), '{"type":"module"}');
    cpSync(launcher, join(place, "scripts", "sirsi.js"));
    writeFileSync(join(place, "dist", "cli", "main.js"), 'console.log("built", process.argv[2]); process.exitCode = 3;\n');
    const copy = join(place, "scripts", "sirsi.js");
    expect(await launch(copy, ["x"])).toEqual({ code: 3, stdout: "built x\n", stderr: "" });
    expect(await launch(copy, ["x"], { old: true })).toMatchObject({ code: 1, stderr: expect.stringMatching(/needs Node 26.*this is 20\.1\.0\n {2}why: .*\n {2}next: run `npm ci`/) as string });
  });
});
