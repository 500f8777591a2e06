/**
 * What is looked at while a host serves and no client has anything in hand: the model against
 * the reports of all ledgers, the host's own audit, and the revision that each agent runs on.
 */
import { setTimeout as pause } from "node:timers/promises";
import { ClientError } from "../../runtime/client/index.ts";
import type { SirsiClient } from "../../runtime/client/index.ts";
import { systemClock } from "../../runtime/core/clock.ts";
import type { Ledger } from "./commands.ts";
import type { LedgerBuilds } from "./ledger-builds.ts";
import type { Model, Violation } from "./model.ts";
import { type Report, readReport } from "./report.ts";

/** How long timers, told messages and swaps may take to come to rest. */
const SETTLE_MS = 25_000;
/** How often an agent may turn out to have moved while it was looked at. */
const MOVES_MAX = 5;
const CALL_DEADLINE_MS = 15_000;

/** What the verifier reads of the store itself, while hosts serve. */
export interface LiveBooks {
  /** Digests of the revisions that agents are on, by agent id. */
  digests(): ReadonlyMap<string, string> | Promise<ReadonlyMap<string, string>>;
  /** `notes`: by key, null for a document that was removed. */
  checkDocuments(notes: ReadonlyMap<string, number | null>): Violation[] | Promise<Violation[]>;
}

export interface VerifySetting {
  readonly model: Model;
  readonly builds: LedgerBuilds;
  readonly sessionId: string;
  readonly ledgers: readonly Ledger[];
  readonly books: LiveBooks;
  readonly run: string;
}

export class Verifier {
  readonly #set: VerifySetting;
  #messages = 0;

  constructor(setting: VerifySetting) {
    this.#set = setting;
  }

  /** Rejects when the host goes away, or `stop` says so. */
  async verify(client: SirsiClient, stop: AbortSignal): Promise<Violation[]> {
    const { model, ledgers } = this.#set;
    const until = systemClock.monotonic() + SETTLE_MS;
    const reports = new Map<string, Report>();
    let open = ledgers;
    while (open.length > 0) {
      await Promise.all(open.map(async (ledger) => void reports.set(ledger.name, await this.#report(ledger, client, stop))));
      const outstanding = new Set(model.outstanding(reports));
      open = ledgers.filter(({ name }) => outstanding.has(name));
      // What is still missing then is what the model says is lost.
      if (systemClock.monotonic() > until) break;
      if (open.length > 0) await pause(60, undefined, { signal: stop });
    }
    return [...model.check(reports), ...(await this.#checkBuilds(reports, client, stop)), ...(await this.#set.books.checkDocuments(model.notes())), ...(await this.#audit(client, until, stop))];
  }

  async #report(ledger: Ledger, client: SirsiClient, stop: AbortSignal): Promise<Report> {
    const messageId = `${this.#set.run}-report-${++this.#messages}`;
    const message = { messageId, content: `report ${this.#set.model.verified(ledger.name)}` };
    for (let attempt = 0; ; attempt++) {
      try {
        const { response } = await client.agents.sendMessage({ sessionId: this.#set.sessionId, agentId: ledger.agentId, message }, { deadlineMs: CALL_DEADLINE_MS, signal: stop });
        return readReport(response?.content ?? "");
      } catch (thrown) {
        const error = ClientError.from(thrown);
        // Without a reason it is the way to the host that failed: the caller knows more.
        if (stop.aborted || attempt >= 20 || (error.retryAfterMs === null && error.reason !== "" && !UNAVAILABLE.has(error.reason))) throw new Unreachable(ledger, error);
        await pause(100, undefined, { signal: stop });
      }
    }
  }

  /** S2: an agent's code is that of the one revision which the store names, unless it moves at this very moment. */
  async #checkBuilds(reports: ReadonlyMap<string, Report>, client: SirsiClient, stop: AbortSignal): Promise<Violation[]> {
    const { books, builds, ledgers } = this.#set;
    const violations: Violation[] = [];
    let digests = await books.digests();
    for (const ledger of ledgers) {
      let build = reports.get(ledger.name)?.build ?? "none";
      for (let looks = 0; looks < MOVES_MAX && builds.kindOf(digests.get(ledger.agentId) ?? "") !== build; looks++) {
        const before = digests.get(ledger.agentId) ?? "";
        build = (await this.#report(ledger, client, stop)).build;
        digests = await books.digests();
        if (digests.get(ledger.agentId) !== before || builds.kindOf(before) === build) continue;
        violations.push({ what: "revision", ledger: ledger.name, expected: `build ${builds.kindOf(before)} of ${before.slice(0, 12)}, which the store names`, found: build });
        break;
      }
    }
    return violations;
  }

  /** Waits for an empty outbox: told messages are in, but their entries may still be on their way out. */
  async #audit(client: SirsiClient, until: number, stop: AbortSignal): Promise<Violation[]> {
    for (;;) {
      const { audit } = await client.modules.auditHost({ maxFindings: 10 }, { deadlineMs: CALL_DEADLINE_MS, signal: stop, retries: 0 });
      if (audit === undefined) return [{ what: "audit", ledger: "all", expected: "an audit", found: "none" }];
      const findings = audit.findings.map(({ agentId, check, explanation }) => ({ what: `audit: ${check}`, ledger: this.#nameOf(agentId), expected: "no finding", found: explanation }));
      if (!audit.balanced && findings.length === 0) {
        findings.push({ what: "audit", ledger: "all", expected: "received = done + pending + dead-lettered", found: `${audit.received} = ${audit.done} + ${audit.pending} + ${audit.deadLettered}` });
      }
      const busy = audit.outbox > 0n || audit.timers > 0n || audit.pending > 0n;
      if (findings.length > 0 || !busy) return findings;
      if (systemClock.monotonic() > until) return [{ what: "audit", ledger: "all", expected: "no outbox, no timers, no waits on a host at rest", found: `${audit.outbox}, ${audit.timers}, ${audit.pending}` }];
      await pause(60, undefined, { signal: stop });
    }
  }

  #nameOf(agentId: string): string {
    return this.#set.ledgers.find((ledger) => ledger.agentId === agentId)?.name ?? agentId;
  }
}

const UNAVAILABLE = new Set(["STORE_UNAVAILABLE", "SHARD_LOST", "AGENT_FENCED", "DEADLINE_EXCEEDED", "MAILBOX_FULL"]);

/** S6 is broken, or the host is gone. */
export class Unreachable extends ClientError {
  readonly ledger: string;

  constructor({ name }: Ledger, error: ClientError) {
    super(error.rpcCode, `${name} gives no report: ${error.reason} ${error.message}`, { reason: error.reason, cause: error });
    this.ledger = name;
  }
}
