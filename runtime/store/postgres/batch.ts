/**
 * Group commit: calls that agents made together, in one transaction.
 *
 *   BEGIN, locks and reads ─▶ decide, call by call ─▶ multi-row writes, COMMIT
 *
 * Two trips to the server, however many calls there are, and one flush of its disk.
 *
 * B1 An outcome is given only after the COMMIT that covers it.
 * B2 A call that is refused fails alone: it is found out before anything is written
 *    (agent-desk.ts). When the database refuses values that only it can judge, the batch is
 *    undone and each call made by itself, so that again the one fails alone.
 * B3 A transaction that lost against another is run again, all of it, from its reads on.
 * B4 When the connection is lost, every call of the batch fails. Nothing is run again: what
 *    was sent with the COMMIT may have been written, and only the caller can tell (L1 in
 *    runtime/agent/agent-ledger.ts).
 */
import { backoffMs, type BackoffConfig } from "../../core/backoff.ts";
import type { Clock } from "../../core/clock.ts";
import { SirsiError } from "../../core/errors.ts";
import { faultPoint } from "../../core/fault-points.ts";
import { isId } from "../../core/ids.ts";
import type { AgentRecord } from "../store.ts";
import { AgentDesk } from "./agent-desk.ts";
import type { BatchCall, BatchOutcome } from "./batch-call.ts";
import { loadOf } from "./batch-load.ts";
import { writesOf } from "./batch-write.ts";
import type { Link } from "./link.ts";
import { faultKind, lostConnection, storeFault } from "./postgres-fault.ts";
import { BEGIN, commitWith, hostBuried, rollBack } from "./transaction.ts";

export interface BatchSurroundings {
  /** For messages. */
  readonly label: string;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  /** In whose name; null for a host of no fleet. */
  readonly hostId: string | null;
}

const AGAIN: BackoffConfig = { firstMs: 5, maxMs: 250, factor: 2 };
const TRIES = 8;

function sleep(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => {
    clock.after(ms, resolve);
  });
}

/** Runs `attempt` again while it loses against others (B3). */
export async function withRetries<Value>({ clock, random }: Pick<BatchSurroundings, "clock" | "random">, attempt: () => Promise<Value>): Promise<Value> {
  for (let tries = 1; ; tries++) {
    try {
      return await attempt();
    } catch (thrown) {
      if (faultKind(thrown) !== "conflict" || tries === TRIES) throw thrown;
      await sleep(clock, backoffMs(AGAIN, tries - 1, random()));
    }
  }
}

function decide(desk: AgentDesk, call: BatchCall): unknown {
  switch (call.kind) {
    case "commit":
      return desk.commit(call.commit);
    case "put":
      return desk.putAgent(requireUuid(call.agent));
    case "claim":
      return desk.claimAgent(call.agentId);
    case "acquire":
      return desk.acquire(call.agentId);
    case "give":
      return desk.give(call.agentIds, call.toHostId);
    case "settle":
      return desk.settle(call.keys.filter(({ agentId }) => isId(agentId)));
  }
}

function requireUuid(agent: AgentRecord): AgentRecord {
  if (isId(agent.agentId)) return agent;
  throw new SirsiError("INVALID_ARGUMENT", `Agent ${JSON.stringify(agent.agentId)} was not stored: ids of agents are lower-case UUIDs. Let the host name the agent.`);
}

function outcomeOf(desk: AgentDesk, call: BatchCall): BatchOutcome {
  try {
    return { kind: "done", value: decide(desk, call) ?? null };
  } catch (thrown) {
    return { kind: "failed", error: storeFault(thrown) };
  }
}

/** `sent` tells whether the COMMIT was on its way when it failed. */
async function tryBatch(link: Link, calls: readonly BatchCall[], hostId: string | null, fate: { sent: boolean }): Promise<BatchOutcome[]> {
  fate.sent = false;
  try {
    faultPoint("commit.before-write");
    const load = loadOf(calls, hostId);
    const [, ...answers] = await link.pipeline([BEGIN, ...load.statements]);
    const loaded = load.read(answers);
    if (hostId !== null && !loaded.standing.stands) {
      await rollBack(link);
      return calls.map(() => ({ kind: "failed", error: hostBuried(hostId) }));
    }
    const desk = new AgentDesk(loaded);
    const outcomes = calls.map((call) => outcomeOf(desk, call));
    const writes = writesOf(desk);
    if (writes.length === 0) {
      await rollBack(link);
      return outcomes;
    }
    faultPoint("commit.in-transaction");
    fate.sent = true;
    await commitWith(link, writes);
    faultPoint("commit.written");
    return outcomes;
  } catch (thrown) {
    await rollBack(link);
    throw thrown;
  }
}

/** Never throws; an outcome for each call. */
export async function runBatch(link: Link, calls: readonly BatchCall[], around: BatchSurroundings): Promise<BatchOutcome[]> {
  const fate = { sent: false };
  try {
    return await withRetries(around, () => tryBatch(link, calls, around.hostId, fate));
  } catch (thrown) {
    const kind = faultKind(thrown);
    if (kind === "refused" && calls.length > 1) return runEach(link, calls, around);
    const error = kind === "lost" ? lostConnection(thrown, around.label, fate.sent) : storeFault(thrown);
    return calls.map(() => ({ kind: "failed", error }));
  }
}

/** B2. */
async function runEach(link: Link, calls: readonly BatchCall[], around: BatchSurroundings): Promise<BatchOutcome[]> {
  const outcomes: BatchOutcome[] = [];
  for (const call of calls) outcomes.push(...(await runBatch(link, [call], around)));
  return outcomes;
}
