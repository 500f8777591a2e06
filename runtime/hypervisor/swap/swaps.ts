/**
 * Every hot swap of this host: which revision is tried when, and what becomes of swaps
 * that a stop of the host cut off.
 *
 * Invariants
 * - H1 A module has one swap at a time. A revision that comes meanwhile waits; of several
 *   the last. One that is not active yet gives way at once, its canaries moving back; one
 *   that moves its agents finishes that, and is kept without being watched further.
 * - H2 What the store says of an unfinished swap decides, at a start: before the revision
 *   was active it is given up, and its file may begin again; after, it goes on.
 * - H3 A revision that was rejected or reverted is not taken again unless somebody asks.
 * - H4 Agents that sleep are not woken for a swap: they move when they come to memory.
 */
import type { MoveHouse, SwapCause, SwapOutcome } from "../../agent/index.ts";
import { Moves, MoveTally } from "../../agent/index.ts";
import type { Config } from "../../config/index.ts";
import { Deferred } from "../../core/deferred.ts";
import { SirsiError } from "../../core/errors.ts";
import { newId } from "../../core/ids.ts";
import type { CandidateRevision, ModuleRegistry, Revision } from "../../module/index.ts";
import type { Metrics } from "../../observe/index.ts";
import type { AgentRecord, Store, SwapRecord } from "../../store/store.ts";
import { isOver, newSwap, remembered, SWAP_REASONS } from "./swap-record.ts";
import { type SwapModules, type SwapResult, SwapRun, type SwapRunGround } from "./swap-run.ts";

export interface SwapChoices {
  /** 1 to 100. */
  readonly canaryPercent: number;
  readonly watchMs: number;
}

export interface SwapsGround extends Omit<SwapRunGround, "store" | "modules" | "moves"> {
  readonly store: SwapRunGround["store"] & Pick<Store, "listSwaps">;
  readonly modules: SwapModules & Pick<ModuleRegistry, "get" | "revisionByDigest" | "successorOf">;
  readonly house: MoveHouse;
  readonly metrics: Metrics;
  readonly config: Config["swap"];
  readonly shards: number;
}

interface Waiting {
  readonly candidate: CandidateRevision;
  readonly choices: SwapChoices;
  readonly result: Deferred<SwapResult>;
}

interface Lane {
  current: SwapRun | null;
  next: Waiting | null;
}

/** Swaps of a module that are looked through for what is remembered of a revision. */
const REMEMBERED_MAX = 200;
const UNFINISHED_MAX = 1_000;

export class Swaps {
  readonly #ground: SwapsGround;
  readonly #moves: Moves;
  readonly #lanes = new Map<string, Lane>();
  readonly #running = new Set<Promise<void>>();
  /** Candidates that came before the host had its agents. */
  #early: CandidateRevision[] | null = [];
  #resumed: SwapRun[] = [];
  readonly #closing = new AbortController();
  readonly #listeners = new Set<(record: SwapRecord) => void>();

  constructor(ground: SwapsGround) {
    this.#ground = ground;
    this.#moves = new Moves(ground);
  }

  // --- beginning -----------------------------------------------------------------------

  /** Reads what a stop of the host left unfinished (H2); before any agent comes to memory. */
  async recall(): Promise<void> {
    const unfinished = (await this.#ground.store.listSwaps(null, UNFINISHED_MAX)).filter((record) => !isOver(record));
    for (const record of unfinished) {
      const run = this.#lane(record.module).current === null ? await this.#resumable(record) : null;
      if (run === null) await this.#close(record);
      else {
        this.#lane(record.module).current = run;
        this.#resumed.push(run);
      }
    }
  }

  /** Null when it was not active yet, or its revisions cannot be had. */
  async #resumable(record: SwapRecord): Promise<SwapRun | null> {
    if (record.state === "REHEARSING" || record.state === "CANARY") return null;
    try {
      const [from, to] = await Promise.all([this.#ground.modules.revisionByDigest(record.fromDigest), this.#ground.modules.revisionByDigest(record.toDigest)]);
      return this.#newRun(from, to, record);
    } catch (thrown) {
      this.#ground.log.error({ swapId: record.swapId, module: record.module, err: SirsiError.from(thrown).message }, "an unfinished swap cannot go on");
      return null;
    }
  }

  async #close(record: SwapRecord): Promise<void> {
    await this.#ground.store.putSwap({ ...record, state: "REJECTED", reason: SWAP_REASONS.hostStopped, endedAt: this.#ground.clock.now() });
  }

  /** The agents are there: unfinished swaps go on, and what came meanwhile begins. */
  begin(): void {
    const early = this.#early ?? [];
    this.#early = null;
    for (const run of this.#resumed.splice(0)) this.#start(run);
    for (const candidate of early) this.#offer(candidate);
  }

  /** Those that somebody asked for are performed by whoever asked. */
  onCandidate(candidate: CandidateRevision): void {
    if (candidate.asked) return;
    if (this.#early === null) this.#offer(candidate);
    else this.#early.push(candidate);
  }

  #offer(candidate: CandidateRevision): void {
    void this.#consider(candidate).catch((thrown: unknown) => {
      if (this.#closing.signal.aborted) return;
      this.#ground.log.error({ module: candidate.module, digest: candidate.to.digest, err: SirsiError.from(thrown).message }, "a revision could not be tried; reload its module to try again");
    });
  }

  /** H3 */
  async #consider(candidate: CandidateRevision): Promise<void> {
    const { module, to } = candidate;
    const { current } = this.#lane(module);
    if (current?.to.digest === to.digest) await current.served.catch(() => undefined);
    if (this.#ground.modules.candidateOf(module)?.digest !== to.digest) return;
    const reason = remembered(await this.#ground.store.listSwaps(module, REMEMBERED_MAX), to.digest);
    if (reason === "") await this.perform(candidate, this.#ground.config);
    else await this.#ground.modules.reject(module, to, reason);
  }

  // --- performing ----------------------------------------------------------------------

  /**
   * Resolves when the agents have moved that could, or the revision was turned down, with
   * the swap's record. SHUTTING_DOWN, STORE_UNAVAILABLE.
   */
  perform(candidate: CandidateRevision, choices: SwapChoices): Promise<SwapResult> {
    if (this.#closing.signal.aborted) return Promise.reject(shuttingDown());
    const lane = this.#lane(candidate.module);
    const { current } = lane;
    if (current === null) return this.#startNew(candidate, choices);
    // Asked for twice: it is the same swap.
    if (lane.next === null && current.to.digest === candidate.to.digest && current.mayServe) return current.served;
    this.#supersede(lane);
    const result = new Deferred<SwapResult>();
    lane.next = { candidate, choices, result };
    current.giveWay();
    return result.promise;
  }

  /** The one that waits never begins. */
  #supersede(lane: Lane): void {
    const { next } = lane;
    lane.next = null;
    if (next !== null) this.#follow(next.result, this.#passOver(next.candidate, next.choices));
  }

  async #passOver({ from, to }: CandidateRevision, choices: SwapChoices): Promise<SwapResult> {
    const record: SwapRecord = { ...this.#newRecord(from, to, choices), state: "REJECTED", reason: SWAP_REASONS.superseded, endedAt: this.#ground.clock.now() };
    await this.#ground.store.putSwap(record);
    return { record, failureReason: "" };
  }

  #follow(result: Deferred<SwapResult>, made: Promise<SwapResult>): void {
    made.then(
      (value) => result.resolve(value),
      (thrown: unknown) => result.reject(thrown),
    );
  }

  #startNew(candidate: CandidateRevision, choices: SwapChoices): Promise<SwapResult> {
    const { module, to } = candidate;
    if (this.#ground.modules.candidateOf(module)?.digest !== to.digest) return this.#passOver(candidate, choices);
    // What serves may have changed since it was offered.
    const from = this.#ground.modules.get(module).active ?? candidate.from;
    const run = this.#newRun(from, to, this.#newRecord(from, to, choices));
    this.#lane(module).current = run;
    this.#start(run);
    return run.served;
  }

  #newRecord(from: Revision, to: Revision, { canaryPercent, watchMs }: SwapChoices): SwapRecord {
    const now = this.#ground.clock.now();
    return newSwap({ swapId: newId(now), module: to.manifest.name, fromDigest: from.digest, toDigest: to.digest, canaryPercent, watchMs }, now);
  }

  #newRun(from: Revision, to: Revision, record: SwapRecord): SwapRun {
    return new SwapRun({ ...this.#ground, moves: this.#moves }, from, to, record);
  }

  #start(run: SwapRun): void {
    const running = run.run().then(() => {
      this.#running.delete(running);
      this.#ended(run);
    });
    this.#running.add(running);
  }

  #ended(run: SwapRun): void {
    const lane = this.#lane(run.record.module);
    // One that was stopped is still the module's: the next host goes on with it.
    const over = isOver(run.record);
    if (over) lane.current = null;
    const { next } = lane;
    lane.next = null;
    if (next !== null && this.#closing.signal.aborted) next.result.reject(shuttingDown());
    else if (next !== null) this.#follow(next.result, this.#startNew(next.candidate, next.choices));
    if (over) for (const listener of this.#listeners) listener(run.record);
  }

  /** Like perform, and resolves when the swap is over, with its record. */
  async performToEnd(candidate: CandidateRevision, choices: SwapChoices): Promise<SwapRecord> {
    const { record } = await this.perform(candidate, choices);
    return isOver(record) ? record : await this.#overOf(record);
  }

  async #overOf({ module, swapId }: SwapRecord): Promise<SwapRecord> {
    const { current } = this.#lane(module);
    const last = current?.record.swapId === swapId ? await current.over : (await this.#ground.store.listSwaps(module, REMEMBERED_MAX)).find((record) => record.swapId === swapId);
    if (last === undefined || !isOver(last)) throw shuttingDown();
    return last;
  }

  /**
   * `from`, which was kept, is taken back after all: `to` is active again and agents move
   * back, without rehearsal or watching. MODULE_REJECTED while the module has a swap.
   */
  async takeBack(from: Revision, to: Revision, reason: string): Promise<SwapRecord> {
    if (this.#closing.signal.aborted) throw shuttingDown();
    const { name } = from.manifest;
    const lane = this.#lane(name);
    if (lane.current !== null) throw new SirsiError("MODULE_REJECTED", `module ${name} has a swap that goes on; try again when it is over`);
    const run = this.#newRun(to, from, { ...this.#newRecord(to, from, this.#ground.config), state: "REVERTING", reason });
    lane.current = run;
    this.#start(run);
    return await this.#overOf(run.record);
  }

  /** The revision that is tried, moved to or watched in the module's swap; null while it has none. */
  trying(module: string): string | null {
    const lane = this.#lanes.get(module);
    return lane?.next?.candidate.to.digest ?? lane?.current?.to.digest ?? null;
  }

  /** Resolves when the module's swap in hand is over or the host stops. */
  async over(module: string): Promise<void> {
    await this.#lanes.get(module)?.current?.over;
  }

  /** Called with the record of each swap that is over. The result takes it back. */
  onOver(listener: (record: SwapRecord) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Rehearses and changes nothing. */
  async dryRun(to: Revision, choices: SwapChoices): Promise<SwapResult> {
    const { name } = to.manifest;
    const from = this.#ground.modules.get(name).active;
    if (from === null || from.digest === to.digest) throw new SirsiError("MODULE_REJECTED", `revision ${to.digest.slice(0, 12)} of module ${name} would take no other's place: there is nothing to rehearse`);
    const { refusal, sentences } = await this.#ground.rehearse(to, this.#closing.signal);
    if (this.#closing.signal.aborted) throw shuttingDown();
    const record: SwapRecord = { ...this.#newRecord(from, to, choices), state: "DRY_RUN", reason: refusal, endedAt: this.#ground.clock.now(), rehearsal: sentences };
    await this.#ground.store.putSwap(record);
    return { record, failureReason: "" };
  }

  // --- agents that come to memory ------------------------------------------------------

  /** H4: where an agent belongs that comes to memory; null where it is. */
  homeOf({ module, digest, createdAt }: AgentRecord): { readonly to: Revision; readonly cause: SwapCause } | null {
    const run = this.#lanes.get(module)?.current ?? null;
    if (run !== null && run.onTrial && run.to.digest === digest) return null;
    const successor = this.#ground.modules.successorOf(module, digest, createdAt);
    return successor === null ? null : { to: successor.revision, cause: successor.refused ? "revert" : "swap" };
  }

  /** What became of one that moved as it came. */
  movedHome(agentId: string, to: Revision, outcome: SwapOutcome): void {
    const run = this.#lanes.get(to.manifest.name)?.current ?? null;
    if (run?.to.digest === to.digest) run.count(agentId, outcome);
    else this.#moves.count(new MoveTally(), agentId, to, outcome);
  }

  #lane(module: string): Lane {
    let lane = this.#lanes.get(module);
    if (lane === undefined) {
      lane = { current: null, next: null };
      this.#lanes.set(module, lane);
    }
    return lane;
  }

  // --- ending --------------------------------------------------------------------------

  /** No swap takes a further turn; unfinished ones go on with the next host. Repeatable. */
  async close(): Promise<void> {
    this.#closing.abort();
    for (const { current } of this.#lanes.values()) current?.stop();
    await Promise.all(this.#running);
  }
}

function shuttingDown(): SirsiError {
  return new SirsiError("SHUTTING_DOWN", "the host is shutting down and begins no swap; try again when it is back", { retryAfterMs: 1_000 });
}
