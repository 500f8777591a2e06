/** What the benchmark's command line says. */
import { parseArgs } from "node:util";
import { SirsiError } from "../../runtime/core/errors.ts";
import { SECTIONS } from "./sections.ts";

export const HELP = `npm run bench -- [options]

  --quick            fewer and shorter turns: under a minute and a half
  --only NAME        this section alone; may be given again (${SECTIONS.map(({ name }) => name).join(", ")})
  --rounds N         turns of each contender
  --round-ms N       how long a turn lasts
  --seed N           for the contents of messages (default 1)
  --registered N     agents of the section \`registered\` (default 1,000,000, which takes minutes on a slow machine; --quick 20,000)
  --json FILE        writes every figure to FILE
  --write-docs       writes docs/benchmarks.md; of a whole run, not of a quick one
  --help             this text

Ends with 0 unless an answer was wrong: a target that is missed is printed, and is no failure.
`;

export interface Options {
  readonly quick: boolean;
  readonly only: readonly string[];
  readonly rounds: number;
  readonly roundMs: number;
  readonly seed: number;
  readonly registered: number;
  readonly json: string | null;
  readonly writeDocs: boolean;
  readonly help: boolean;
}

export function readOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: "boolean", default: false },
      only: { type: "string", multiple: true, default: [] },
      rounds: { type: "string" },
      "round-ms": { type: "string" },
      seed: { type: "string", default: "1" },
      registered: { type: "string" },
      json: { type: "string" },
      "write-docs": { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  const { quick, only } = values;
  const unknown = only.find((name) => !SECTIONS.some((section) => section.name === name));
  if (unknown !== undefined) throw new SirsiError("INVALID_ARGUMENT", `--only ${unknown}: there is no such section; there are ${SECTIONS.map(({ name }) => name).join(", ")}`);
  if (values["write-docs"] && (quick || only.length > 0)) throw new SirsiError("INVALID_ARGUMENT", "--write-docs needs a whole run; leave out --quick and --only");
  return {
    quick,
    only,
    rounds: whole("--rounds", values.rounds, quick ? 3 : 7),
    roundMs: whole("--round-ms", values["round-ms"], quick ? 150 : 500),
    seed: whole("--seed", values.seed, 1),
    registered: whole("--registered", values.registered, quick ? 20_000 : 1_000_000),
    json: values.json ?? null,
    writeDocs: values["write-docs"],
    help: values.help,
  };
}

function whole(flag: string, text: string | undefined, fallback: number): number {
  if (text === undefined) return fallback;
  const value = Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  throw new SirsiError("INVALID_ARGUMENT", `${flag} must be a whole number from 1; got ${JSON.stringify(text)}`);
}
