/** What the command line of the fleet's crash tests says. */
import { parseArgs } from "node:util";
import { SirsiError } from "../../../runtime/core/errors.ts";
import { number } from "../options.ts";
import { FAULT_KINDS, type FaultKind } from "./schedule.ts";

export const HELP = `npm run crash -- --fleet [options]

  --faults N      stop after so many faults (default: as many as the time allows)
  --minutes N     stop after so long (default 10, and no end of its own with --faults)
  --seed S        the plan: commands, faults, swaps (default 1)
  --kinds LIST    only these faults, in this order and again from the start; separated by commas
  --agents A      ledgers (default 16)
  --clients C     that send at the same time, each through every door (default 8)
  --lease-ms N    the hosts' lease (default 2000)
  --report FILE   writes the figures to FILE as JSON
  --write-docs    writes them into docs/durability.md
  --dir DIR       works there and keeps it; else in a temporary directory, kept only when something was wrong
  --quiet         prints the summary alone
  --help          this text

Faults: ${FAULT_KINDS.join(", ")}.

Ends with 1 when an invariant was violated: the seed, the fault and both sides of it are printed.
`;

export interface FleetCrashOptions {
  readonly faults: number;
  readonly minutes: number;
  readonly seed: number;
  /** Empty: all, in turn. */
  readonly kinds: readonly FaultKind[];
  readonly agents: number;
  readonly clients: number;
  readonly leaseMs: number;
  readonly report: string | null;
  readonly writeDocs: boolean;
  readonly dir: string | null;
  readonly quiet: boolean;
  readonly help: boolean;
}

const MINUTES = 10;
/** With --faults alone: bounded all the same. */
const MINUTES_MAX = 240;

export function readFleetOptions(args: readonly string[]): FleetCrashOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      fleet: { type: "boolean" },
      faults: { type: "string" },
      minutes: { type: "string" },
      seed: { type: "string", default: "1" },
      kinds: { type: "string", default: "" },
      agents: { type: "string", default: "16" },
      clients: { type: "string", default: "8" },
      "lease-ms": { type: "string", default: "2000" },
      report: { type: "string" },
      "write-docs": { type: "boolean", default: false },
      dir: { type: "string" },
      quiet: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  return {
    faults: values.faults === undefined ? Infinity : number("--faults", values.faults, 1),
    minutes: values.minutes === undefined ? (values.faults === undefined ? MINUTES : MINUTES_MAX) : number("--minutes", values.minutes, 0.01, false),
    seed: number("--seed", values.seed, 0),
    kinds: values.kinds.split(",").filter((word) => word !== "").map(kindOf),
    agents: number("--agents", values.agents, 2),
    clients: number("--clients", values.clients, 1),
    leaseMs: number("--lease-ms", values["lease-ms"], 1_000),
    report: values.report ?? null,
    writeDocs: values["write-docs"],
    dir: values.dir ?? null,
    quiet: values.quiet,
    help: values.help,
  };
}

function kindOf(word: string): FaultKind {
  const kind = FAULT_KINDS.find((one) => one === word.trim());
  if (kind !== undefined) return kind;
  throw new SirsiError("INVALID_ARGUMENT", `--kinds names ${JSON.stringify(word)}; there are ${FAULT_KINDS.join(", ")}`);
}
