/** sirsi module: list, inspect, install, reload, rollback, swaps, remove. */
import { resolve } from "node:path";
import { Option } from "commander";
import type { Command } from "commander";
import {
  GetModuleResponseSchema,
  InstallModuleResponseSchema,
  ListModulesResponseSchema,
  ModuleStateSchema,
  ReloadModuleResponseSchema,
  RemoveModuleResponseSchema,
  RevisionStateSchema,
  RollbackModuleResponseSchema,
} from "../../client/index.ts";
import type { GetModuleResponse, Module, Revision } from "../../client/index.ts";
import { readBytes } from "../attachment.ts";
import { addCommand, addGroup } from "../command.ts";
import type { Shell } from "../command.ts";
import { durabilityText } from "../durability-text.ts";
import { bytes, fields, table, time } from "../text.ts";
import { valueName } from "../value-name.ts";
import { addSwaps, followSwap, type SwapFlags, swapFlags, swapOptionsOf, swapText } from "./module-swap.ts";

const MOVING =
  "Live agents move to it in turns: copies of a few try it, then a share of the agents moves, then the rest, and its faults are watched; it is turned down, or taken back, when it does not do well.";

export function addModuleCommands(program: Command, shell: Shell): void {
  const group = addGroup(program, "module", "Install, inspect and replace modules", ["module list", "module install modules/echo.wasm"]);
  addReading(group, shell);
  addInstall(group, shell);
  addChanges(group, shell);
  addSwaps(group, shell);
}

function addReading(group: Command, shell: Shell): void {
  addCommand(group, shell, {
    usage: "list",
    summary: "List the modules the host knows, refused ones too",
    examples: ["module list", "module list --quiet"],
    async run(invocation) {
      const response = await invocation.client.modules.listModules({}, invocation.call);
      const rows = response.modules.map((module) => [
        module.name,
        valueName(ModuleStateSchema, module.state),
        module.active?.version ?? "",
        shortDigest(module.active),
        String(module.liveAgents),
        module.lastError,
      ]);
      const human = () => table(["MODULE", "STATE", "VERSION", "REVISION", "AGENTS", "LAST ERROR"], rows);
      invocation.show(ListModulesResponseSchema, response, human, response.modules.map((module) => module.name));
    },
  });

  addCommand(group, shell, {
    usage: "inspect <name>",
    summary: "Show a module with all its revisions",
    examples: ["module inspect echo", "module inspect echo -o json"],
    async run(invocation) {
      const response = await invocation.client.modules.getModule({ name: invocation.arg(0) }, invocation.call);
      invocation.show(GetModuleResponseSchema, response, () => moduleText(response), response.module?.revisions.map((revision) => revision.digest) ?? []);
    },
  });
}

function addInstall(group: Command, shell: Shell): void {
  addCommand<{ readonly validateOnly?: boolean } & SwapFlags>(group, shell, {
    usage: "install <file>",
    summary: "Admit a .wasm file and make it its module's active revision",
    more: MOVING,
    options: [new Option("--validate-only", "say whether it would be admitted, and change nothing"), ...swapFlags()],
    examples: ["module install build/echo.wasm", "module install build/echo.wasm --validate-only", "module install build/echo.wasm --dry-run", "module install build/echo.wasm --canary 10% --watch 30s"],
    async run(invocation) {
      const wasm = readBytes(resolve(invocation.terminal.cwd, invocation.arg(0)));
      const validateOnly = invocation.options.validateOnly === true;
      const response = await invocation.client.modules.installModule({ wasm, validateOnly, swap: swapOptionsOf(invocation.options) }, invocation.call);
      const unchanged = validateOnly || invocation.options.dryRun === true;
      const human = () => (unchanged ? "admissible; nothing was changed\n" : "") + revisionFields(response.revision) + swapText(response.swap);
      invocation.show(InstallModuleResponseSchema, response, human, response.revision === undefined ? [] : [response.revision.digest]);
      return await followSwap(invocation, response.swap);
    },
  });
}

function addChanges(group: Command, shell: Shell): void {
  addCommand<SwapFlags>(group, shell, {
    usage: "reload <name>",
    summary: "Read a module's file again and admit it afresh",
    more: `${MOVING} A file that was turned down before is tried again.`,
    options: swapFlags(),
    examples: ["module reload echo", "module reload echo --canary 5% --watch 1m"],
    async run(invocation) {
      const response = await invocation.client.modules.reloadModule({ name: invocation.arg(0), swap: swapOptionsOf(invocation.options) }, invocation.call);
      invocation.show(ReloadModuleResponseSchema, response, () => moduleFields(response.module) + swapText(response.swap), digestOf(response.module));
      return await followSwap(invocation, response.swap);
    },
  });

  addCommand<{ readonly to?: string } & SwapFlags>(group, shell, {
    usage: "rollback <name>",
    summary: "Make an earlier revision active again",
    more: MOVING,
    options: [new Option("--to <digest>", "the revision, or its first 8 or more digits (default: the one before)"), ...swapFlags()],
    examples: ["module rollback echo", "module rollback echo --to 3fa1c09e", "module rollback echo --dry-run"],
    async run(invocation) {
      const request = { name: invocation.arg(0), digest: invocation.options.to ?? "", swap: swapOptionsOf(invocation.options) };
      const response = await invocation.client.modules.rollbackModule(request, invocation.call);
      invocation.show(RollbackModuleResponseSchema, response, () => moduleFields(response.module) + swapText(response.swap), digestOf(response.module));
      return await followSwap(invocation, response.swap);
    },
  });

  addCommand(group, shell, {
    usage: "remove <name>",
    summary: "Retire a module: running agents finish, new ones are refused",
    examples: ["module remove echo"],
    async run(invocation) {
      const response = await invocation.client.modules.removeModule({ name: invocation.arg(0) }, invocation.call);
      invocation.show(RemoveModuleResponseSchema, response, () => moduleFields(response.module), [invocation.arg(0)]);
    },
  });
}

function shortDigest(revision: Revision | undefined): string {
  return revision?.digest.slice(0, 12) ?? "";
}

function digestOf(module: Module | undefined): string[] {
  return module?.active === undefined ? [] : [module.active.digest];
}

function moduleFields(module: Module | undefined): string {
  if (module === undefined) return "";
  return fields([
    ["module", module.name],
    ["state", valueName(ModuleStateSchema, module.state)],
    ["active", module.active === undefined ? "" : `${module.active.version} (${shortDigest(module.active)})`],
    ["agents", String(module.liveAgents)],
    ["file", module.file],
    ["last error", module.lastError],
  ]);
}

function moduleText(response: GetModuleResponse): string {
  const { module } = response;
  if (module === undefined) return "";
  const rows = module.revisions.map((revision) => [
    shortDigest(revision),
    revision.version,
    valueName(RevisionStateSchema, revision.state),
    bytes(Number(revision.sizeBytes)),
    time(revision.installedAt),
    String(revision.liveAgents),
    revision.reason,
  ]);
  const durability = durabilityText(response);
  const imports = module.active === undefined ? "" : `\n${fields([["imports", module.active.imports.join(", ")], ["exports", module.active.exports.join(", ")]])}`;
  return `${moduleFields(module)}${durability === "" ? "" : `\n${durability}`}\n${table(["REVISION", "VERSION", "STATE", "SIZE", "INSTALLED", "AGENTS", "REASON"], rows)}${imports}`;
}

function revisionFields(revision: Revision | undefined): string {
  if (revision === undefined) return "";
  return fields([
    ["module", revision.module],
    ["version", revision.version],
    ["revision", revision.digest],
    ["state", valueName(RevisionStateSchema, revision.state)],
    ["size", `${bytes(Number(revision.sizeBytes))}, prepared ${bytes(Number(revision.preparedSizeBytes))} in ${revision.prepareTimeMs.toFixed(0)} ms`],
    ...(revision.reason === "" ? [] : ([["reason", revision.reason]] as const)),
  ]);
}
