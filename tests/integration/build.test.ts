import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("../../", import.meta.url));
const place = mkdtempSync(join(tmpdir(), "sirsi-build-"));
const tsc = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin", "tsc");

function node(args: readonly string[], cwd: string): { status: number | null; text: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd, encoding: "utf8" });
  return { status, text: stdout + stderr };
}

beforeAll(() => {
  expect(node([join(root, "scripts", "build.ts")], root)).toMatchObject({ status: 0 });
  mkdirSync(join(place, "node_modules"));
  symlinkSync(root, join(place, "node_modules", "sirsi"));
  writeFileSync(join(place, "package.json"), '{"type":"module"}');
});
afterAll(() => rmSync(place, { recursive: true }));

const PROGRAM = `import { ClientError, MessageType, SirsiClient } from "sirsi";
using client = new SirsiClient({ address: "127.0.0.1:1", retries: 0 });
try {
  const { response } = await client.agents.sendMessage({ message: { type: MessageType.TEXT, content: "hello" } });
  console.log(response?.content.toUpperCase());
} catch (error) {
  console.log(error instanceof ClientError && error.rpcName);
}
`;

const FLAGS = ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2024", "--lib", "es2024,esnext.disposable", "--types", "node", "--typeRoots", join(root, "node_modules", "@types")];

describe("the built package", () => {
  it("gives a program the client, with its types", () => {
    writeFileSync(join(place, "program.ts"), PROGRAM);
    expect(node([tsc, ...FLAGS, "program.ts"], place)).toEqual({ status: 0, text: "" });
    expect(node(["program.ts"], place)).toEqual({ status: 0, text: "UNAVAILABLE\n" });
  });

  it("has types that notice a mistake", () => {
    writeFileSync(join(place, "mistake.ts"), PROGRAM.replace("content:", "contents:"));
    expect(node([tsc, ...FLAGS, "mistake.ts"], place).text).toContain("contents");
  });

  it("runs the command", () => {
    expect(node([join(root, "dist", "cli", "main.js"), "config", "show", "--quiet"], place)).toMatchObject({ status: 0, text: expect.stringContaining("shards.count") as string });
  });
});
