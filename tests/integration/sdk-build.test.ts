/** The build tools: the SDK's own, which outside authors use, and the project's, which skips what has not changed. */
import { execFile } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execPath } from "node:process";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { MANIFEST_SECTION } from "../../runtime/contract/guest-abi.ts";
import { buildAgents } from "../../scripts/build-agents.ts";
import { Guest } from "../support/guest.ts";

/** A compilation takes seconds, and several on a busy machine take many. */
vi.setConfig({ testTimeout: 180_000 });

const ROOT = new URL("../../", import.meta.url).pathname;
let dir: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "sirsi-build-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

interface Run {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

function node(args: readonly string[], cwd = ROOT): Promise<Run> {
  return new Promise((settle) => {
    execFile(execPath, args, { cwd, encoding: "utf8" }, (error, out, err) => settle({ code: error === null ? 0 : Number(error.code), out, err }));
  });
}

const build = (folder: string) => node([join(ROOT, "agents-as/sdk/build.js"), join(dir, folder), "--out", join(dir, "out")], dir);

function author(folder: string, source: string, manifest: unknown = { name: folder, version: "0.1.0" }): void {
  mkdirSync(join(dir, folder, "assembly"), { recursive: true });
  writeFileSync(join(dir, folder, "assembly/index.ts"), source);
  if (manifest !== undefined) writeFileSync(join(dir, folder, "agent.json"), typeof manifest === "string" ? manifest : JSON.stringify(manifest));
}

const HELLO = `import { Agent, Message, MessageContext, Reply, register } from "@sirsi/agent-sdk";

class Hello extends Agent {
  onMessage(message: Message, context: MessageContext): Reply {
    return Reply.text("hello " + message.content);
  }
}

register(new Hello());
`;

describe("the SDK's build tool", () => {
  test("builds the README's agent from anywhere, with its manifest inside", async () => {
    const readme = readFileSync(join(ROOT, "agents-as/sdk/README.md"), "utf8");
    const [manifest, source] = ["json", "ts"].map((language) => new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\``, "ms").exec(readme)![1]!);
    author("hello", source!, manifest);
    const run = await build("hello");
    expect(run).toMatchObject({ code: 0, out: expect.stringMatching(/^hello 1\.0\.0: out\/hello\.wasm, \d+ bytes\n$/) });
    const module = new WebAssembly.Module(readFileSync(join(dir, "out/hello.wasm")));
    const [section] = WebAssembly.Module.customSections(module, MANIFEST_SECTION);
    expect(JSON.parse(new TextDecoder().decode(section))).toEqual({ ...JSON.parse(manifest!), abi: 1 });
    const guest = new Guest(module);
    guest.init();
    expect(guest.message("you")).toMatchObject({ response: { content: "hello you", metadata: { greeted: "1" } }, suggestions: [{ title: "Greet again", action: { command: "you" } }] });
    expect(readdirSync(join(dir, "out"))).toEqual(["hello.wasm"]);
  });

  test("shows a mistake with its place, and writes nothing", async () => {
    author("wrong", HELLO.replace('"hello "', "5"));
    const run = await build("wrong");
    expect(run.code).toBe(1);
    expect(run.err).toMatch(/ERROR TS\d+/);
    expect(run.err).toContain("at wrong/assembly/index.ts:5:");
    expect(readdirSync(dir)).toEqual(["wrong"]);
  });

  test("refuses an import that no host offers, and says what to use instead", async () => {
    author("dice", HELLO.replace('"hello "', "Math.random().toString()"));
    const run = await build("dice");
    expect(run.code).toBe(1);
    expect(run.err).toMatch(/env\.seed .*Random\.f64\(\)/);
  });

  test("an agent that registers nothing answers so", async () => {
    author("mute", "export const nothing = 0;\n");
    expect((await build("mute")).code).toBe(0);
    expect(Guest.fromFile(join(dir, "out/mute.wasm")).send("x")).toMatchObject({ case: "error", value: { message: expect.stringContaining("registers no agent") } });
  });

  test.each([
    ["missing", undefined, /agent\.json is missing/],
    ["not JSON", "{", /agent\.json is not JSON/],
    ["without a name", { version: "1" }, /"name" must be/],
    ["with a name that is none", { name: "../x", version: "1" }, /"name" must be/],
    ["without a version", { name: "x" }, /"version" must/],
    ["with a field that is none", { name: "x", version: "1", colour: "red" }, /colour.*It may have name, version/],
  ])("a manifest that is %s is refused", async (_what, manifest, message) => {
    author("bad", HELLO, manifest);
    if (manifest === undefined) rmSync(join(dir, "bad/agent.json"), { force: true });
    const run = await build("bad");
    expect(run).toMatchObject({ code: 1, err: expect.stringMatching(message) });
  });

  test("without a directory it says how it is used", async () => {
    const run = await node([join(ROOT, "agents-as/sdk/build.js")]);
    expect(run).toMatchObject({ code: 2, err: expect.stringContaining("usage:") });
  });
});

describe("the project's build", () => {
  test("builds what changed and skips what did not", async () => {
    const sourceDir = join(dir, "agents");
    const outDir = join(dir, "modules");
    author("agents/hello", HELLO, { name: "hello", version: "0.1.0" });
    const options = { sourceDir, outDir };
    const lines: string[] = [];
    const report = (line: string) => void lines.push(line);
    const [first] = await buildAgents({ ...options, report });
    expect(first).toMatchObject({ folder: "hello", file: join(outDir, "hello.wasm"), fresh: true, sizeBytes: statSync(join(outDir, "hello.wasm")).size });
    expect((await buildAgents({ ...options, report }))[0]).toMatchObject({ fresh: false });
    expect(lines).toEqual([expect.stringMatching(/^hello: built in \d+\.\d s, \d+ bytes$/), expect.stringMatching(/^hello: unchanged, \d+ bytes$/)]);

    writeFileSync(join(outDir, "hello.wasm"), "damaged");
    expect((await buildAgents(options))[0]).toMatchObject({ fresh: true });
    author("agents/hello", HELLO, { name: "hello", version: "0.2.0" });
    expect((await buildAgents(options))[0]).toMatchObject({ fresh: true });
  });

  test("names the agents there are when one is asked for that is not", async () => {
    cpSync(join(ROOT, "agents-as/echo"), join(dir, "agents/echo"), { recursive: true });
    await expect(buildAgents({ sourceDir: join(dir, "agents"), outDir: dir, only: ["ehco"] })).rejects.toThrow(/no agent ehco .*there are echo/);
  });

  test("rejects with the compiler's words when an agent does not compile", async () => {
    author("agents/wrong", "register(;\n", { name: "wrong", version: "1" });
    await expect(buildAgents({ sourceDir: join(dir, "agents"), outDir: dir })).rejects.toThrow(/wrong: ERROR TS\d+[\s\S]*index\.ts:1:10/);
  });
});

test("the committed guest codec is what the descriptors say", async () => {
  expect(await node(["scripts/generate-guest-codec.ts", "--check"])).toMatchObject({ code: 0, out: "" });
});
