/** The only file that reads the process environment. */
import { closest } from "fastest-levenshtein";
import type { Setting } from "./setting.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

export function processEnvironment(): Environment {
  return process.env;
}

/** Variables of ours that are not settings of the host. */
export const OTHER_VARIABLES = {
  SIRSI_CONFIG: "The configuration file, when --config does not name one.",
  SIRSI_ADDRESS: "The host that the command line and the client talk to.",
  SIRSI_SESSION: "The session that agent commands use when --session does not name one.",
} as const;

/** What the command line takes from the environment; an empty variable counts as none. */
export interface ClientEnvironment {
  readonly address: string | null;
  readonly session: string | null;
  readonly noColor: boolean;
}

export function clientEnvironment(env: Environment = processEnvironment()): ClientEnvironment {
  return {
    address: env["SIRSI_ADDRESS"] || null,
    session: env["SIRSI_SESSION"] || null,
    noColor: Boolean(env["NO_COLOR"]),
  };
}

/**
 * SIRSI_ variables that name nothing. Warnings and not errors: an orchestrator that
 * runs a service called "sirsi" puts names like SIRSI_SERVICE_HOST there by itself.
 */
export function strangeVariables(env: Environment, settings: readonly Setting[]): string[] {
  const known = [...settings.flatMap((setting) => setting.env ?? []), ...Object.keys(OTHER_VARIABLES)];
  return Object.keys(env)
    .filter((name) => name.startsWith("SIRSI_") && !known.includes(name))
    .toSorted()
    .map((name) => `the environment variable ${name} is not a setting and has no effect; the nearest is ${closest(name, known)}`);
}
