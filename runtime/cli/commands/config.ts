/** sirsi config show. */
import type { Command } from "commander";
import { describeSource, tomlValue } from "../../config/index.ts";
import { addCommand, addGroup } from "../command.ts";
import type { Shell } from "../command.ts";
import { hostOptions, loadHostConfig } from "../host-options.ts";
import type { HostOptions } from "../host-options.ts";
import { table } from "../text.ts";

export function addConfigCommands(program: Command, shell: Shell): void {
  const group = addGroup(program, "config", "Look at the configuration", ["config show"]);
  addCommand<HostOptions>(group, shell, {
    usage: "show",
    summary: "Show every setting and where its value came from",
    more: "It is what `sirsi serve` would use with the same options; nothing is started.",
    options: hostOptions(),
    examples: ["config show", "config show --config sirsi.toml -o json"],
    run(invocation) {
      const config = loadHostConfig(invocation);
      const settings = config.settings.map(({ key, value, source }) => ({ key, value, source: describeSource(source) }));
      if (invocation.json) invocation.write(`${JSON.stringify({ file: config.file, settings, warnings: config.warnings }, null, 2)}\n`);
      else if (invocation.options.quiet === true) invocation.write(settings.map(({ key, value }) => `${key} = ${tomlValue(value)}\n`).join(""));
      else invocation.write(table(["SETTING", "VALUE", "FROM"], settings.map(({ key, value, source }) => [key, tomlValue(value), source])));
      for (const warning of config.warnings) invocation.note(`warning: ${warning}`);
    },
  });
}
