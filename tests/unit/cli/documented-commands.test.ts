import { globSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import { describe, expect, it } from "vitest";
import { buildProgram, idleShell } from "../../../runtime/cli/program.ts";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const pages = globSync(["*.md", "docs/*.md", "agents-as/*/*.md"], { cwd: ROOT });
const program = buildProgram(idleShell(), () => Promise.reject(new Error("nothing is run")));

/** Every `sirsi …` of a page's code, up to where the shell takes over. */
function commandsOf(page: string): string[] {
  const code = Array.from(page.matchAll(/^```\w+\n([\s\S]*?)^```|`(sirsi [^`]*)`/gm), ([, block, inline]) => block ?? inline ?? "");
  return code.flatMap((text) => Array.from(text.matchAll(/(?:^|[\s($/])(sirsi [a-z][^\n|;>)#]*)/gm), ([, command = ""]) => command.trim()));
}

/** What is wrong with a command; empty when the command line would take it. */
function complaint(line: string): string {
  const words = line.split(/\s+/).slice(1);
  let command: Command = program;
  for (let next = subcommand(command, words[0]); next !== undefined; next = subcommand(command, words[0])) {
    command = next;
    words.shift();
  }
  if (command === program) return `there is no command ${words[0]}`;
  if (command.commands.length > 0 && words[0]?.match(/^[a-z]/)) return `${command.name()} has no command ${words[0]}`;
  const known = new Set([...command.options, ...program.options].flatMap(({ short, long }) => [short, long]));
  const unknown = words.map((word) => word.split("=")[0]).find((word) => /^--?[a-z]/i.test(word ?? "") && !known.has(word));
  return unknown === undefined ? "" : `${command.name()} has no option ${unknown}`;
}

function subcommand(command: Command, name: string | undefined): Command | undefined {
  return command.commands.find((candidate) => candidate.name() === name);
}

describe("the pages", () => {
  it("name many commands, and a wrong one would be found", () => {
    const commands = pages.flatMap((page) => commandsOf(readFileSync(`${ROOT}/${page}`, "utf8")));
    expect(commands.length).toBeGreaterThan(50);
    expect(["sirsi agent crate echo", "sirsi serv", "sirsi agent create echo --parameter a=b"].map(complaint)).toEqual(["agent has no command crate", "there is no command serv", "create has no option --parameter"]);
  });

  it.each(pages)("%s names only commands and options that there are", (page) => {
    const wrong = commandsOf(readFileSync(`${ROOT}/${page}`, "utf8")).map((command) => [command, complaint(command)]);
    expect(wrong.filter(([, why]) => why !== "")).toEqual([]);
  });
});
