/**
 * What must hold of an agent's books, judged from what a store found in its rows. How the
 * rows are read is each store's own; all facts of one agent are of one moment.
 */
import type { Audit, AuditFinding } from "./store.ts";

/** What an agent's progress says. */
export interface AuditSubject {
  readonly agentId: string;
  readonly live: boolean;
  readonly received: number;
  readonly done: number;
  readonly deadLettered: number;
  readonly exchangeSequence: number;
  readonly commitSequence: number;
  readonly baseSequence: number;
  readonly waiting: boolean;
  readonly pending: boolean;
}

/** What its other rows say. */
export interface AuditFacts {
  /** `done`: an exchange of the same message is remembered. */
  readonly wait: { readonly sequence: number; readonly messageId: string; readonly done: boolean } | null;
  /** Of the remembered exchanges: how many, how many with a body, the newest, and the oldest with a body. */
  readonly exchanges: { readonly known: number; readonly kept: number; readonly newest: number | null; readonly oldest: number | null } | null;
  readonly doubled: readonly { readonly messageId: string; readonly times: number }[];
  /** Of an agent without a base: a commit that has a state all the same. */
  readonly loose: number | null;
  /** Of an agent with one: its commits since; what the commit at the base is, and the newest of all. */
  readonly chain: { readonly rows: number; readonly newest: number | null; readonly digests: number; readonly first: string | null; readonly last: string | null } | null;
  /** Its messages on their way, and the newest commit with an entry. */
  readonly outbox: { readonly messages: number; readonly newest: number } | null;
  /** Messages on their way to an agent that is `lost`, or has taken them. */
  readonly astray: readonly { readonly sequence: number; readonly place: number; readonly target: string; readonly lost: boolean }[];
  readonly timers: number;
}

type Say = (check: string, explanation: string) => void;

/** One agent's books; findings are added to `findings` while it has fewer than `findingsMax`. */
export function auditOf(agent: AuditSubject, facts: AuditFacts, findings: AuditFinding[], findingsMax: number): Audit {
  const say: Say = (check, explanation) => {
    if (findings.length < findingsMax) findings.push({ agentId: agent.agentId, check, explanation });
  };
  const pending = checkWait(agent, facts, say);
  checkAccount(agent, pending, say);
  checkExchanges(agent, facts, say);
  checkChain(agent, facts, say);
  checkOutbox(agent, facts, say);
  if (facts.timers > 0 && !agent.live) say("timer", `it has ended, and ${facts.timers} of its timers are still set`);
  const { received, done, deadLettered } = agent;
  return { agents: 1, received, done, deadLettered, pending, outbox: facts.outbox?.messages ?? 0, timers: facts.timers, findings };
}

function checkAccount({ received, done, deadLettered, exchangeSequence, pending: noted }: AuditSubject, pending: number, say: Say): void {
  if (received !== done + deadLettered + pending) {
    say("account", `it received ${received} messages, but ${done} are done, ${pending} are in a wait and ${deadLettered} were given up`);
  }
  if (Number(noted) !== pending) say("account", `its account has ${Number(noted)} messages in a wait, and there are ${pending}`);
  if (done !== exchangeSequence) say("account", `it counts ${done} messages done, and its last exchange has the number ${exchangeSequence}`);
}

function checkWait({ waiting, commitSequence, live }: AuditSubject, { wait }: AuditFacts, say: Say): number {
  if (wait === null) {
    if (waiting) say("wait", `it should be in a wait since commit ${commitSequence}, and the wait is lost`);
    return 0;
  }
  const { sequence, messageId } = wait;
  if (!waiting || sequence !== commitSequence) say("wait", `it has the wait of commit ${sequence}, which is over: ${commitSequence} is its last commit`);
  if (!live) say("wait", `it has ended, and is still in the wait of commit ${sequence}`);
  if (wait.done) say("doubled", `message ${messageId} is done, and in a wait at the same time`);
  return messageId === "" ? 0 : 1;
}

function checkExchanges({ done, exchangeSequence }: AuditSubject, { exchanges, doubled }: AuditFacts, say: Say): void {
  if (exchanges === null) return;
  const { known, kept, newest, oldest } = exchanges;
  if (known > done) say("account", `it counts ${done} messages done, and ${known} exchanges are remembered`);
  // Ids are forgotten by age, bodies in order: only among those with a body must none be missing.
  if (kept > 0 && (newest !== exchangeSequence || oldest === null || exchangeSequence - oldest + 1 !== kept)) {
    say("sequence", `it keeps ${kept} exchanges from number ${String(oldest)} to ${String(newest)}, and they should go on without a gap to ${exchangeSequence}`);
  }
  for (const { messageId, times } of doubled) say("doubled", `message ${messageId} was done ${times} times`);
}

function checkChain({ baseSequence, commitSequence, waiting, live }: AuditSubject, { chain, loose }: AuditFacts, say: Say): void {
  if (loose !== null) say("chain", `the state of its commit ${loose} follows no base`);
  if (chain === null) return;
  const { first, last, rows, newest, digests } = chain;
  if (newest !== commitSequence) say("sequence", `its last commit is ${commitSequence}, and the newest in its history is ${newest ?? "none"}`);
  if (first !== "base") say("chain", `commit ${baseSequence} should be its newest base, and ${first === null ? "is lost" : `is a ${first}`}`);
  else if (rows !== commitSequence - baseSequence + 1) say("chain", `of its ${commitSequence - baseSequence + 1} commits since base ${baseSequence}, ${rows} are there`);
  if (digests > 1) say("chain", `its states since base ${baseSequence} are of more than one revision`);
  if (live && (last === "wait") !== waiting) say("wait", waiting ? `it is in a wait, and its last state is a ${String(last)}` : "its last state is that of a wait, and it is in none");
}

function checkOutbox({ commitSequence }: AuditSubject, { outbox, astray }: AuditFacts, say: Say): void {
  if (outbox === null) return;
  if (outbox.newest > commitSequence) say("outbox", `its outbox has an entry of commit ${outbox.newest}, and ${commitSequence} is its last`);
  for (const { place, sequence, target, lost } of astray) {
    const name = `entry ${place} of its commit ${sequence}`;
    if (lost) say("outbox", `${name} is for agent ${target}, which does not exist`);
    else say("outbox", `${name} is still in its outbox, and agent ${target} has taken its message`);
  }
}
