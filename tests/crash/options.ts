/** What the command line of the crash tests says. */
import { parseArgs } from "node:util";
import { SirsiError } from "../../runtime/core/errors.ts";

export const HELP = `npm run crash -- [options]

  --fleet         several hosts with NATS, PostgreSQL and Redis, and their faults; it has options of its own, see --fleet --help
  --minutes N     how long to go on (default 1)
  --kills K       stop after so many kills, if that comes first
  --seed S        the plan: commands, kills, fault points, swaps (default 1)
  --agents A      ledgers (default 16)
  --clients C     that send at the same time (default 10)
  --report FILE   writes the figures to FILE as JSON
  --write-docs    writes them into docs/durability.md
  --dir DIR       works there and keeps it; else in a temporary directory, kept only when something was wrong
  --disk-mib N    works on a file system of that size in memory, and fills it; needs the right to mount
  --quiet         prints the summary alone
  --help          this text

Ends with 1 when an invariant was violated: the seed, the kill and both sides of it are printed.
`;

export interface CrashOptions {
  readonly minutes: number;
  readonly kills: number;
  readonly seed: number;
  readonly agents: number;
  readonly clients: number;
  readonly report: string | null;
  readonly writeDocs: boolean;
  readonly dir: string | null;
  readonly diskMib: number | null;
  readonly quiet: boolean;
  readonly help: boolean;
}

export function readOptions(args: readonly string[]): CrashOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      minutes: { type: "string", default: "1" },
      kills: { type: "string" },
      seed: { type: "string", default: "1" },
      agents: { type: "string", default: "16" },
      clients: { type: "string", default: "10" },
      report: { type: "string" },
      "write-docs": { type: "boolean", default: false },
      dir: { type: "string" },
      "disk-mib": { type: "string" },
      quiet: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  return {
    minutes: number("--minutes", values.minutes, 0.01, false),
    kills: values.kills === undefined ? Infinity : number("--kills", values.kills, 1),
    seed: number("--seed", values.seed, 0),
    agents: number("--agents", values.agents, 2),
    clients: number("--clients", values.clients, 1),
    report: values.report ?? null,
    writeDocs: values["write-docs"],
    dir: values.dir ?? null,
    diskMib: values["disk-mib"] === undefined ? null : number("--disk-mib", values["disk-mib"], 16),
    quiet: values.quiet,
    help: values.help,
  };
}

export function number(name: string, text: string, min: number, whole = true): number {
  const value = Number(text);
  if (Number.isFinite(value) && value >= min && (!whole || Number.isInteger(value))) return value;
  throw new SirsiError("INVALID_ARGUMENT", `${name} must be a ${whole ? "whole " : ""}number, ${min} at least; got ${JSON.stringify(text)}`);
}
