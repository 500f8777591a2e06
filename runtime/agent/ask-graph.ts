/**
 * Who waits for whose answer (G2). A circle of them would never end.
 *
 * An agent of this host waits for at most one other. Of agents of other hosts it is known
 * which wait, by way of others perhaps, for an agent here: they come with what is asked
 * (`Delivery.askedBy`) and are forgotten when it is answered.
 *
 * Two that ask each other from two hosts in the same moment are both refused. A circle
 * over three hosts or more that closes at all of them in the same moment is seen by none,
 * and ended by the deadlines.
 */
import { SirsiError } from "../core/errors.ts";

/** Of those who wait for an agent, so many are told to another host. Beyond that a circle is ended by its deadline. */
const WAITERS_MAX = 256;

export interface Waits {
  readonly asker: string;
  readonly asked: string;
}

export class AskGraph {
  readonly #asks = new Map<string, Waits>();
  /** Who asks an agent; null when nobody wants to know. */
  readonly #askersOf: Map<string, Set<string>> | null;
  /** Of other hosts: for whom they wait, and how often. */
  readonly #far = new Map<string, Map<string, number>>();
  readonly #farAskersOf = new Map<string, Map<string, number>>();

  /** `shared`: agents of other hosts ask, and are asked. */
  constructor(shared: boolean) {
    this.#askersOf = shared ? new Map() : null;
  }

  /** ASK_CYCLE. */
  begin(asker: string, asked: string): Waits {
    const path = this.#path(asked, new Set([asker]));
    if (path !== null) throw cycle([asker, ...path]);
    const waits: Waits = { asker, asked };
    this.#asks.set(asker, waits);
    if (this.#askersOf !== null) {
      const askers = this.#askersOf.get(asked);
      if (askers === undefined) this.#askersOf.set(asked, new Set([asker]));
      else askers.add(asker);
    }
    return waits;
  }

  /** What was begun is answered. The same agent may ask anew by then: its step went on in another object. */
  end(waits: Waits): void {
    const { asker, asked } = waits;
    if (this.#asks.get(asker) !== waits) return;
    this.#asks.delete(asker);
    const askers = this.#askersOf?.get(asked);
    if (askers === undefined) return;
    askers.delete(asker);
    if (askers.size === 0) this.#askersOf?.delete(asked);
  }

  /** Agents of other hosts wait for `asked`, which is here. ASK_CYCLE. The result ends it. */
  beginFar(askedBy: readonly string[], asked: string): () => void {
    const path = this.#path(asked, new Set(askedBy));
    if (path !== null) throw cycle([path.at(-1) ?? asked, ...path]);
    for (const asker of askedBy) {
      count(this.#far, asker, asked, 1);
      count(this.#farAskersOf, asked, asker, 1);
    }
    return () => {
      for (const asker of askedBy) {
        count(this.#far, asker, asked, -1);
        count(this.#farAskersOf, asked, asker, -1);
      }
    };
  }

  /** The agent itself, last, and those who wait for it, by way of others too. */
  waitersOf(agentId: string): readonly string[] {
    const found = new Set([agentId]);
    for (const at of found) {
      if (found.size >= WAITERS_MAX) break;
      for (const asker of this.#askersOf?.get(at) ?? []) found.add(asker);
      for (const asker of this.#farAskersOf.get(at)?.keys() ?? []) found.add(asker);
    }
    return [...found].slice(0, WAITERS_MAX).toReversed();
  }

  /** From one agent along those for whom each waits to one of `ends`; null when there is no such way. */
  #path(from: string, ends: ReadonlySet<string>): string[] | null {
    const cameFrom = new Map<string, string | null>([[from, null]]);
    for (const at of cameFrom.keys()) {
      if (ends.has(at)) return wayTo(at, cameFrom);
      const next = this.#asks.get(at)?.asked;
      if (next !== undefined && !cameFrom.has(next)) cameFrom.set(next, at);
      for (const far of this.#far.get(at)?.keys() ?? []) if (!cameFrom.has(far)) cameFrom.set(far, at);
    }
    return null;
  }
}

function wayTo(end: string, cameFrom: ReadonlyMap<string, string | null>): string[] {
  const way: string[] = [];
  for (let at: string | null = end; at !== null; at = cameFrom.get(at) ?? null) way.unshift(at);
  return way;
}

function count(counts: Map<string, Map<string, number>>, from: string, to: string, change: 1 | -1): void {
  const of = counts.get(from) ?? new Map<string, number>();
  const now = (of.get(to) ?? 0) + change;
  if (now > 0) of.set(to, now);
  else of.delete(to);
  if (of.size > 0) counts.set(from, of);
  else counts.delete(from);
}

/** `path`: the asker, whom it would ask, and for whom each waits, back to the asker. */
function cycle(path: readonly string[]): SirsiError {
  const [asker = "", asked = ""] = path;
  return new SirsiError("ASK_CYCLE", `agent ${asker} cannot ask agent ${asked}: ${path.join(" waits for ")}, so none would ever answer. Emit a message instead, or answer first`);
}
