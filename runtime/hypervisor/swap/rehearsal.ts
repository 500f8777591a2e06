/**
 * Tries a revision on copies of a few live agents before anything moves: their last
 * committed states go through save() and load(), and their last messages are told again
 * to two copies, old code with the old state and new code with the loaded one.
 *
 * A revision whose init or load does not end well is refused. Other answers than before
 * are what a new revision may be for: they are told in sentences, for a person to judge.
 * It runs on a shard of its own, so that live agents neither wait for it nor fall with it.
 */
import { fromBinary } from "@bufbuild/protobuf";
import { encodeLoadCall, encodeSaveCall, readSaved, requireLoaded, type SavedState } from "../../agent/swap.ts";
import { ExchangeSchema, type Message } from "../../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { encodeMessageCall } from "../../contract/guest-codec.ts";
import type { Clock } from "../../core/clock.ts";
import { SirsiError } from "../../core/errors.ts";
import type { Revision } from "../../module/index.ts";
import type { ShardPool } from "../../sandbox/index.ts";
import type { AgentRecord, StateChain, Store } from "../../store/store.ts";
import { Copy, requireDone } from "./copy.ts";
import { type AgentFindings, answerOf, sentencesOf, type ToldMessage } from "./findings.ts";

export interface RehearsalGround {
  readonly clock: Clock;
  readonly store: Pick<Store, "getState" | "listExchanges">;
  readonly revisionByDigest: (digest: string) => Promise<Revision>;
  /** A pool for this rehearsal alone; closed after it. */
  readonly openPool: () => Pick<ShardPool, "open" | "close">;
}

export interface RehearsalReport {
  /** Why the revision must not serve; empty when it may. */
  readonly refusal: string;
  readonly sentences: readonly string[];
}

/** Messages told again, of each agent. */
const MESSAGES_MAX = 3;

/** Aborted, it ends soon, and what it says then is worth nothing. */
export async function rehearse(ground: RehearsalGround, to: Revision, agents: readonly AgentRecord[], signal: AbortSignal): Promise<RehearsalReport> {
  if (agents.length === 0) return { refusal: "", sentences: ["no agent to rehearse with"] };
  const pool = ground.openPool();
  const abort = () => void pool.close();
  signal.addEventListener("abort", abort, { once: true });
  try {
    const found: AgentFindings[] = [];
    for (const record of agents) {
      const findings = await rehearseOne({ ...ground, pool }, to, record);
      found.push(findings);
      if (findings.refusal !== "" || signal.aborted) break;
    }
    return { refusal: found.find(({ refusal }) => refusal !== "")?.refusal ?? "", sentences: sentencesOf(found) };
  } finally {
    signal.removeEventListener("abort", abort);
    await pool.close();
  }
}

interface Stage extends RehearsalGround {
  readonly pool: Pick<ShardPool, "open">;
}

async function rehearseOne(stage: Stage, to: Revision, record: AgentRecord): Promise<AgentFindings> {
  const copies: Copy[] = [];
  const findings: AgentFindings = { agentId: record.agentId, refusal: "", unsaved: "", loadMs: null, messages: [] };
  try {
    const before = await stateOf(stage, record);
    const open = async (make: Promise<Copy>): Promise<Copy> => {
      const copy = await make;
      copies.push(copy);
      return copy;
    };
    const saved = to.manifest.onSwap === "migrate" ? await savedBy(await open(openOld(stage, before, record))) : null;
    if (typeof saved === "string") return { ...findings, unsaved: saved };
    const next = await beginNext(stage, to, record, saved, copies);
    if (typeof next === "string") return { ...findings, refusal: next };
    if (to.manifest.onSwap !== "migrate") return { ...findings, loadMs: next.loadMs };
    const old = await open(openOld(stage, before, record));
    return { ...findings, loadMs: next.loadMs, messages: await tellBoth(await lastMessages(stage, record), old, next.copy) };
  } catch (thrown) {
    // The agent may have ended or moved meanwhile: that says nothing about the revision.
    return { ...findings, unsaved: SirsiError.from(thrown).message };
  } finally {
    for (const copy of copies) copy.close();
  }
}

interface Before {
  readonly revision: Revision;
  /** Null when its module keeps no states: a fresh copy stands for it. */
  readonly chain: StateChain | null;
}

async function stateOf({ store, revisionByDigest }: Stage, record: AgentRecord): Promise<Before> {
  const chain = await store.getState(record.agentId, null);
  return { chain, revision: await revisionByDigest(chain?.digest ?? record.digest) };
}

/** At rest: a wait in hand is left out, for it goes on where it is (S3). */
async function openOld({ pool, clock }: Stage, { chain, revision }: Before, record: AgentRecord): Promise<Copy> {
  const copy = await Copy.open(pool, clock, revision, chain === null ? null : [chain.base, ...chain.differences], record.agentId);
  if (chain === null) await copy.init(record);
  return copy;
}

/** Or why there is nothing to load: what the old revision cannot do is not held against the new one. */
async function savedBy(old: Copy): Promise<SavedState | string> {
  try {
    return readSaved(requireDone(await old.call(encodeSaveCall()), "save()").result, old.revision);
  } catch (thrown) {
    return `save() on revision ${old.revision.manifest.version} failed: ${SirsiError.from(thrown).message}`;
  }
}

interface Next {
  readonly copy: Copy;
  /** Null when there was nothing to load. */
  readonly loadMs: number | null;
}

/** Or why the revision must not serve. */
async function beginNext({ pool, clock }: Stage, to: Revision, record: AgentRecord, saved: SavedState | null, copies: Copy[]): Promise<Next | string> {
  let what = "init()";
  try {
    const copy = await Copy.open(pool, clock, to, null, record.agentId);
    copies.push(copy);
    await copy.init(record);
    if (saved === null) return { copy, loadMs: null };
    what = "load()";
    const end = requireDone(await copy.call(encodeLoadCall(saved)), what);
    requireLoaded(end.result);
    return { copy, loadMs: end.tookMs };
  } catch (thrown) {
    return `${what} of revision ${to.manifest.version} failed on a copy of agent ${record.agentId}: ${SirsiError.from(thrown).message}`;
  }
}

/** Oldest first. */
async function lastMessages({ store }: Stage, record: AgentRecord): Promise<Message[]> {
  const exchanges = await store.listExchanges(record.agentId, Infinity, MESSAGES_MAX);
  return exchanges.toReversed().flatMap(({ body }) => fromBinary(ExchangeSchema, body).message ?? []);
}

async function tellBoth(messages: readonly Message[], old: Copy, next: Copy): Promise<ToldMessage[]> {
  const told: ToldMessage[] = [];
  for (const message of messages) {
    const call = encodeMessageCall(message, {}, "");
    const [before, now] = await Promise.all([old.call(call), next.call(call)]);
    told.push({ content: message.content, before: answerOf(before), now: answerOf(now) });
    // Neither can go on from the middle of a step.
    if (before.kind !== "done" || now.kind !== "done") break;
  }
  return told;
}
