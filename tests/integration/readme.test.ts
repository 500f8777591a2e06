/** The README's promises, kept by running it: its commands in order, its samples as they stand, its output as shown. */
import { type ChildProcess, spawn } from "node:child_process";
import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { buildAgents } from "../../scripts/build-agents.ts";
import { type Block, blocksOf, isShown } from "../support/markdown.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const README = readFileSync(join(ROOT, "README.md"), "utf8");
/** As the page writes them. */
const GRPC = "127.0.0.1:50051";
const HTTP = "127.0.0.1:8080";
const CHECKOUT = "/home/ada/sirsi";

const blocks = blocksOf(README);
const [start, test, banner, ...rest] = blocks as [Block, Block, Block, ...Block[]];
const steps = rest.filter(({ language }) => language === "sh");

/** A checkout of its own: what the host and the reader write is its own, what they read is the project's. */
function makeCheckout(): string {
  const checkout = mkdtempSync(join(tmpdir(), "sirsi-readme-"));
  for (const name of ["node_modules", "scripts", "runtime", "agents-as", "proto", "tests"]) symlinkSync(join(ROOT, name), join(checkout, name));
  copyFileSync(join(ROOT, "package.json"), join(checkout, "package.json"));
  mkdirSync(join(checkout, "modules"));
  for (const name of readdirSync(join(ROOT, "modules")).filter((file) => file.endsWith(".wasm"))) cpSync(join(ROOT, "modules", name), join(checkout, "modules", name));
  return checkout;
}

let checkout: string;
let host: ChildProcess;
let hostEnded: Promise<void>;
let printed = "";
let address = "";
let outputs: ReadonlyMap<Block, string> = new Map();

beforeAll(async () => {
  await buildAgents();
  checkout = makeCheckout();
  const env = { ...process.env, SIRSI_GRPC_LISTEN: "127.0.0.1:0", SIRSI_HTTP_LISTEN: "127.0.0.1:0" };
  host = spawn("npm", ["start"], { cwd: checkout, env, detached: true, stdio: ["ignore", "pipe", "pipe"] });
  hostEnded = new Promise((resolve) => host.once("close", () => resolve()));
  await new Promise<void>((resolve, reject) => {
    let log = "";
    host.stderr?.on("data", (text: Buffer) => (log += text.toString()));
    host.stdout?.on("data", (text: Buffer) => {
      printed += text.toString();
      if (printed.includes("agent send $AGENT hello\n")) resolve();
    });
    host.once("close", (code) => reject(new Error(`npm start ended with ${code}:\n${printed}${log}`)));
  });
  address = /gRPC +(\S+)/.exec(printed)?.[1] ?? "";
  for (const { file, text } of blocks) if (file !== null) write(file, text);
  outputs = await runSteps();
}, 240_000);

afterAll(async () => {
  // npm, the shell it starts, and the host in it.
  process.kill(-(host.pid ?? 0), "SIGTERM");
  await hostEnded;
  rmSync(checkout, { recursive: true, force: true });
});

function write(file: string, text: string): void {
  mkdirSync(dirname(join(checkout, file)), { recursive: true });
  writeFileSync(join(checkout, file), text.replaceAll(GRPC, address));
}

/** In one shell, for later steps use the variables of earlier ones. Throws with all that was printed when one fails. */
async function runSteps(): Promise<ReadonlyMap<Block, string>> {
  const mark = "\u001e";
  const script = ["set -euo pipefail", ...steps.map(({ text }) => `${text.replaceAll(GRPC, address)}\nprintf '${mark}'`)].join("\n");
  const shell = spawn("bash", ["-c", script], { cwd: checkout, env: { ...process.env, SIRSI_ADDRESS: address, SIRSI_SESSION: "" }, stdio: ["ignore", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  shell.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  shell.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const code = await new Promise<number | null>((resolve) => shell.once("close", resolve));
  const parts = stdout.split(mark);
  if (code !== 0) throw new Error(`step ${parts.length} ended with ${code}:\n${steps[parts.length - 1]?.text}\n${parts.at(-1)}${stderr}`);
  return new Map(steps.map((step, at) => [step, parts[at] ?? ""]));
}

/** Fails with both side by side. */
function expectShown({ text }: Block, output: string): void {
  expect(isShown(text, output) ? text : output).toBe(text);
}

describe("the README", () => {
  it("opens with the two commands, and they are what package.json has", () => {
    expect([start.text, test.text]).toEqual(["npm ci && npm start", "npm ci && npm test"]);
    const { scripts } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { scripts: Record<string, string> };
    expect(scripts["test"]).toBe("node scripts/test.ts");
    expect(readFileSync(join(ROOT, ".ci/run"), "utf8")).toMatch(/^npm ci\b.*\n[\s\S]*^npm test$/m);
  });

  it("shows what npm start prints", () => {
    const [, http = ""] = /HTTP +http:\/\/(\S+)/.exec(printed) ?? [];
    const asWritten = printed.replaceAll(address, GRPC).replaceAll(http, HTTP).replaceAll(checkout, CHECKOUT).replace(/\n *export SIRSI_ADDRESS=.*/, "");
    expectShown(banner, asWritten);
  });

  it("shows what its steps print", () => {
    const shown = blocks.flatMap((block, at) => {
      const step = blocks[at - 1];
      return block.language === "text" && block !== banner && step !== undefined ? [{ step, block }] : [];
    });
    expect(shown.length).toBeGreaterThan(3);
    for (const { step, block } of shown) {
      expectShown(block, outputs.get(step) ?? "");
    }
  });

  it("repeats a message under its id without a second effect", () => {
    const [, output] = [...outputs].find(([step]) => step.text.includes("buf curl")) ?? [];
    expect(JSON.parse(output ?? "")).toMatchObject({ messageId: "order-7", response: { content: "51" } });
  });

  it("links to files that are there", () => {
    const links = Array.from(README.matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g), ([, link = ""]) => link).filter((link) => !link.startsWith("http"));
    expect(links.length).toBeGreaterThan(10);
    expect(links.filter((link) => !existsSync(join(ROOT, link)))).toEqual([]);
  });
});
