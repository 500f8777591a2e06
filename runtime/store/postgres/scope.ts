/**
 * Whose agents a question is about: those of one host of a fleet, or (null) all that the
 * store has, which are a single host's own.
 */
import type { Link, Parameter, Rows } from "./link.ts";

export type Scope = string | null;

/** Asks what `sql` makes of a condition to be added to its WHERE; `of` is its name for the table with the agent's id. */
export function inScope(link: Link, scope: Scope, of: string, sql: (owned: string) => string, parameters: readonly Parameter[]): Promise<Rows> {
  if (scope === null) return link.query(sql(""), parameters);
  const owned = ` AND EXISTS (SELECT 1 FROM agent_progress own WHERE own.agent_id = ${of}.agent_id AND own.owner = $${parameters.length + 1})`;
  return link.query(sql(owned), [...parameters, scope]);
}
