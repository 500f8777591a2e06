/** D6: an agent's state out of the rows of its commits. */
import { SirsiError } from "../core/errors.ts";
import type { StateChain, StateKind } from "./store.ts";

export interface ChainRow {
  readonly sequence: number;
  readonly kind: StateKind;
  readonly digest: string | null;
  readonly preparation: string | null;
  /** Null where the commit left the state as it was. */
  readonly image: Uint8Array | null;
}

/** The chain up to commit `upTo`, from rows that must be its base and everything since. */
export function chainOf(agentId: string, rows: readonly ChainRow[], upTo: number, inWait: boolean): StateChain {
  const [base] = rows;
  const broken = (what: string) =>
    new SirsiError("STORE_CORRUPT", `The states of agent ${agentId} up to commit ${upTo} ${what}. Restore the store from a backup; keep the damaged one for a report.`, { metadata: { agent_id: agentId } });
  if (base === undefined || base.kind !== "base" || base.image === null || base.digest === null || base.preparation === null) throw broken("have lost their base");
  // Every commit has a row, so a lost one shows.
  if (rows.length !== upTo - base.sequence + 1) throw broken(`have a gap after the base of commit ${base.sequence}`);
  if (rows.some(({ digest }) => digest !== base.digest)) throw broken("are of more than one revision");
  const differences: Uint8Array[] = [];
  let commitSequence = base.sequence;
  for (const { kind, image, sequence } of rows.slice(1)) {
    if (kind !== "difference" || image === null) continue;
    differences.push(image);
    commitSequence = sequence;
  }
  const last = rows.at(-1);
  const chain = { digest: base.digest, preparation: base.preparation, commitSequence, base: base.image, differences, wait: null };
  if (!inWait || last?.kind !== "wait" || last.image === null || last.preparation === null) return chain;
  return { ...chain, commitSequence: last.sequence, wait: { image: last.image, preparation: last.preparation } };
}
