/** docs/cli.md, out of the command tree. */
import type { Command, Option } from "commander";
import { commandExamples } from "./command.ts";
import { EXIT_MEANINGS } from "./exit-codes.ts";
import { buildProgram, idleShell } from "./program.ts";
import { UsageError } from "./failure.ts";

const OPENING = `# The sirsi command

<!-- Made from runtime/cli by \`node scripts/generate-docs.ts\`; a test holds it to the code. -->

\`sirsi\` runs a host and talks to one over gRPC. In a checkout it is \`node scripts/sirsi.js\`.

Results go to standard output, notes and errors to standard error. \`-o json\` prints the response as protobuf JSON (\`events\`: one object a line; an error too, on standard error). \`--quiet\` prints ids or the bare result and no notes, for scripts:

\`\`\`sh
export SIRSI_SESSION=$(sirsi session create --quiet)
AGENT=$(sirsi agent create echo --quiet)
sirsi agent send $AGENT hello
\`\`\`

Commands that work in a session take the one that \`--session\` names, else \`SIRSI_SESSION\`, else the only active one, and then say which.
`;

export function cliReference(): string {
  const program = buildProgram(idleShell(), () => Promise.reject(new UsageError("the reference runs nothing", "")));
  const parts = [OPENING, "## Options of every command\n", optionTable(program.options), ""];
  parts.push("## Exit codes\n", "| code | meaning |", "|---|---|", ...EXIT_MEANINGS.map(([code, meaning]) => `| ${code} | ${meaning} |`), "");
  for (const command of program.commands) parts.push(...section(command, "sirsi", "##"));
  return `${parts.join("\n").trimEnd()}\n`;
}

function section(command: Command, before: string, heading: string): string[] {
  const name = `${before} ${command.name()}`;
  const parts = [`${heading} ${name}\n`, `${sentence(command.description())}\n`];
  if (command.commands.length > 0) return [...parts, ...command.commands.flatMap((child) => section(child, name, `${heading}#`))];
  const usage = [name, ...command.registeredArguments.map((argument) => argumentText(argument.name(), argument.required, argument.variadic))].join(" ");
  parts.push(`Usage: \`${usage}\`\n`);
  if (command.options.length > 0) parts.push(optionTable(command.options), "");
  parts.push("```sh", ...commandExamples(command), "```", "");
  return parts;
}

function argumentText(name: string, required: boolean, variadic: boolean): string {
  const text = variadic ? `${name}...` : name;
  return required ? `<${text}>` : `[${text}]`;
}

function optionTable(options: readonly Option[]): string {
  const rows = options.map((option) => {
    const choices = option.argChoices === undefined ? "" : ` (${option.argChoices.join(", ")})`;
    const fallback = option.defaultValue === undefined || option.negate ? "" : ` (default: ${String(option.defaultValue)})`;
    return `| \`${option.flags}\` | ${option.description}${choices}${fallback} |`;
  });
  return ["| option | meaning |", "|---|---|", ...rows].join("\n");
}

function sentence(description: string): string {
  const [summary = "", ...more] = description.split("\n\n");
  return [`${summary}.`, ...more].join("\n\n");
}
