/** sirsi completion. */
import { Argument } from "commander";
import type { Command } from "commander";
import { addCommand } from "../command.ts";
import type { Shell } from "../command.ts";
import { SHELLS, completionScript } from "../completion.ts";
import type { ShellName } from "../completion.ts";

export function addCompletionCommand(program: Command, shell: Shell): void {
  addCommand(program, shell, {
    usage: "completion",
    summary: "Print a script that completes commands in a shell",
    examples: ["completion bash > ~/.local/share/bash-completion/completions/sirsi", "completion zsh > ~/.zfunc/_sirsi", "completion fish > ~/.config/fish/completions/sirsi.fish"],
    run(invocation) {
      invocation.write(completionScript(program, invocation.arg(0) as ShellName));
    },
  }).addArgument(new Argument("<shell>", "the shell").choices(SHELLS));
}
