/**
 * The fleet's books, computed from the tables themselves, past every host and every fault:
 * with nothing of the hosts but the names of columns.
 */
import postgres from "postgres";
import type { Ledger } from "../commands.ts";
import type { Violation } from "../model.ts";
import type { LiveBooks } from "../verify.ts";

interface Progress {
  readonly agentId: string;
  readonly state: string;
  readonly statusMessage: string;
  readonly owner: string | null;
  readonly epoch: number;
  readonly commitSequence: number;
  readonly exchangeSequence: number;
  readonly received: number;
  readonly done: number;
  readonly deadLettered: number;
  readonly waits: boolean;
}

type Wrong = (what: string, expected: string, found: string) => void;

export class FleetBooks implements LiveBooks, AsyncDisposable {
  readonly #sql: postgres.Sql;
  readonly #ledgers: readonly Ledger[];
  /** What an agent had come to at the last look: nothing goes back. */
  readonly #before = new Map<string, Progress>();

  /** `url`: of the server itself, with no proxy before it. */
  constructor(url: string, ledgers: readonly Ledger[]) {
    this.#sql = postgres(url, { max: 1, idle_timeout: 5, connect_timeout: 10, onnotice: () => undefined });
    this.#ledgers = ledgers;
  }

  /** At a moment when every client has its answer. */
  async check(): Promise<Violation[]> {
    const violations: Violation[] = [];
    const ids = this.#ledgers.map(({ agentId }) => agentId);
    const rows = await this.#sql<Progress[]>`
      SELECT a.agent_id AS "agentId", a.state, a.status_message AS "statusMessage", p.owner, p.epoch::float8 AS epoch,
        p.commit_sequence::float8 AS "commitSequence", p.exchange_sequence::float8 AS "exchangeSequence",
        p.received::float8 AS received, p.done::float8 AS done, p.dead_lettered::float8 AS "deadLettered", p.wait_message_id IS NOT NULL AS waits
      FROM agents a JOIN agent_progress p ON p.agent_id = a.agent_id WHERE a.agent_id = ANY(${ids}::uuid[])`;
    const found = new Map(rows.map((row) => [row.agentId, row]));
    for (const { agentId, name } of this.#ledgers) {
      const wrong: Wrong = (what, expected, was) => violations.push({ what: `store: ${what}`, ledger: name, expected, found: was });
      const row = found.get(agentId);
      if (row === undefined) wrong("agent", "a row", "none");
      else this.#checkAgent(row, wrong);
    }
    violations.push(...(await this.#checkExchanges(found)), ...(await this.#checkLetters()));
    return violations;
  }

  #checkAgent(row: Progress, wrong: Wrong): void {
    const { commitSequence, deadLettered, done, epoch, owner, received, state, statusMessage, waits } = row;
    if (state !== "READY") wrong("state", "READY", `${state}: ${statusMessage}`);
    if (waits) wrong("wait", "none, when every client has its answer", "one");
    if (received !== done + deadLettered) wrong("account", "received = done + dead-lettered", `${received} = ${done} + ${deadLettered}`);
    const before = this.#before.get(row.agentId);
    this.#before.set(row.agentId, row);
    if (before === undefined) return;
    if (epoch < before.epoch || commitSequence < before.commitSequence || done < before.done) wrong("went back", JSON.stringify(before), JSON.stringify(row));
    if (owner !== null && before.owner !== null && owner !== before.owner && epoch === before.epoch) wrong("owner", `an epoch above ${before.epoch} with another owner than ${before.owner}`, `${owner} in the same epoch`);
  }

  /** Every message that was done has its row, each id once; ids are kept for longer than a run. */
  async #checkExchanges(agents: ReadonlyMap<string, Progress>): Promise<Violation[]> {
    const rows = await this.#sql<{ agentId: string; known: number; ids: number; last: number }[]>`
      SELECT agent_id AS "agentId", count(*)::float8 AS known, count(DISTINCT message_id)::float8 AS ids, max(sequence)::float8 AS last
      FROM exchanges WHERE agent_id = ANY(${[...agents.keys()]}::uuid[]) GROUP BY agent_id`;
    return rows.flatMap(({ agentId, ids, known, last }) => {
      const { done = 0 } = agents.get(agentId) ?? {};
      if (known === done && ids === done && last === done) return [];
      return [{ what: "store: exchanges", ledger: this.#nameOf(agentId), expected: `${done} messages done, each id once`, found: `${known} rows, ${ids} ids, the last is number ${last}` }];
    });
  }

  async #checkLetters(): Promise<Violation[]> {
    const letters = await this.#sql<{ agentId: string; messageId: string; reason: string; explanation: string }[]>`
      SELECT agent_id AS "agentId", message_id AS "messageId", reason, explanation FROM dead_letters WHERE source_agent_id <> ''`;
    return letters.map(({ agentId, explanation, messageId, reason }) => ({ what: "store: dead letter", ledger: this.#nameOf(agentId), expected: "no message between agents given up", found: `${messageId}: ${reason} ${explanation}` }));
  }

  async digests(): Promise<ReadonlyMap<string, string>> {
    const rows = await this.#sql<{ agentId: string; digest: string }[]>`SELECT agent_id AS "agentId", digest FROM agents`;
    return new Map(rows.map(({ agentId, digest }) => [agentId, digest]));
  }

  async checkDocuments(notes: ReadonlyMap<string, number | null>): Promise<Violation[]> {
    const rows = await this.#sql<{ key: Buffer; bytes: Buffer }[]>`SELECT key, bytes FROM documents`;
    const found = new Map(rows.map(({ bytes, key }) => [key.toString(), bytes.toString()]));
    const violations: Violation[] = [];
    for (const [key, value] of notes) {
      const text = value === null ? undefined : String(value);
      if (found.get(key) !== text) violations.push({ what: "document", ledger: key, expected: text ?? "none", found: found.get(key) ?? "none" });
      found.delete(key);
    }
    for (const [key, text] of found) violations.push({ what: "document", ledger: key, expected: "none: nobody wrote it", found: text });
    return violations;
  }

  /** How often agents changed their owner, since they were made. */
  async epochs(): Promise<number> {
    const [row] = await this.#sql<{ epochs: number }[]>`SELECT coalesce(sum(epoch), 0)::float8 AS epochs FROM agent_progress`;
    return row?.epochs ?? 0;
  }

  #nameOf(agentId: string): string {
    return this.#ledgers.find((ledger) => ledger.agentId === agentId)?.name ?? agentId;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sql.end({ timeout: 5 });
  }
}
