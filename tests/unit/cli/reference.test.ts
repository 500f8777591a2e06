import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { describe, expect, it } from "vitest";
import { commandExamples } from "../../../runtime/cli/command.ts";
import { completionScript } from "../../../runtime/cli/completion.ts";
import { buildProgram, idleShell } from "../../../runtime/cli/program.ts";
import { cliReference } from "../../../runtime/cli/reference.ts";

const program = buildProgram(idleShell(), () => Promise.reject(new Error("nothing is run")));
const all = (command: Command): Command[] => [command, ...command.commands.flatMap(all)];

/** What bash would offer for a line whose last word is being typed. */
function bashOffers(words: readonly string[]): string[] {
  const script = `${completionScript(program, "bash")}
COMP_WORDS=(${words.map((word) => `'${word}'`).join(" ")}); COMP_CWORD=${words.length - 1}; _sirsi; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout, stderr, status } = spawnSync("bash", ["--norc", "-c", script], { encoding: "utf8" });
  expect([status, stderr]).toEqual([0, ""]);
  return stdout.trim().split("\n");
}

describe("the command tree", () => {
  it("is what docs/cli.md says (run `node scripts/generate-docs.ts`)", () => {
    expect(readFileSync(new URL("../../../docs/cli.md", import.meta.url), "utf8")).toBe(cliReference());
  });

  it("has help with examples for every command", () => {
    for (const command of all(program)) {
      expect(commandExamples(command).length, command.name()).toBeGreaterThan(0);
      expect(command.summary(), command.name()).not.toBe("");
    }
  });
});

describe("completion", () => {
  it("in bash offers commands, then the command's options", () => {
    expect(bashOffers(["sirsi", "mod"])).toEqual(["module"]);
    expect(bashOffers(["sirsi", "agent", "s"])).toEqual(["show", "send", "suggest", "status"]);
    expect(bashOffers(["sirsi", "agent", "--quiet", "send", "--at"])).toEqual(["--attach"]);
    expect(bashOffers(["sirsi", "--add"])).toEqual(["--address"]);
  });

  it.each(["zsh", "fish"] as const)("in %s knows every command", (shell) => {
    const script = completionScript(program, shell);
    for (const command of all(program).slice(1)) expect(script).toContain(command.name());
  });
});
