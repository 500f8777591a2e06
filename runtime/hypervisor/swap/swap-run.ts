/**
 * One swap, from the rehearsal to its end.
 *
 *   REHEARSING ─▶ CANARY ─▶ MOVING ─▶ WATCHING ─▶ KEPT
 *        │           │         │          │
 *        ▼           ▼         └────┬─────┘ bad
 *     REJECTED ◀─ canaries          ▼
 *                 move back     REVERTING ─▶ REVERTED
 *
 * Invariants
 * - W1 A turn is in the store before anything is done on its account, so a host that
 *   starts again goes on from there (swaps.ts). Every turn can be gone through again.
 * - W2 Until the revision is active, giving up costs nothing: canaries move back.
 * - W3 Once it is active, the swap goes on until it is kept or reverted, whatever fails
 *   on the way; a later one waits for its agents to have moved, and ends its watch.
 */
import { type Moves, MoveTally, type SwapCause, type SwapOutcome } from "../../agent/index.ts";
import { type BackoffConfig, backoffMs } from "../../core/backoff.ts";
import type { Clock } from "../../core/clock.ts";
import { Deferred } from "../../core/deferred.ts";
import { SirsiError } from "../../core/errors.ts";
import { faultPoint } from "../../core/fault-points.ts";
import type { ModuleRegistry, Revision } from "../../module/index.ts";
import type { Logger } from "../../observe/index.ts";
import type { Store, SwapRecord, SwapStateName } from "../../store/store.ts";
import { OF_ALL, OF_CANARIES, type RevisionHealth, type Strictness, type Tally, verdictOn } from "./health.ts";
import type { RehearsalReport } from "./rehearsal.ts";
import { isOver, SWAP_REASONS, withTally } from "./swap-record.ts";

export type SwapModules = Pick<ModuleRegistry, "activate" | "candidateOf" | "reject" | "release" | "retain" | "revert" | "withdraw">;

export interface SwapRunGround {
  readonly clock: Clock;
  readonly log: Logger;
  readonly store: Pick<Store, "putSwap" | "countByDigest">;
  readonly modules: SwapModules;
  readonly moves: Moves;
  readonly health: RevisionHealth;
  readonly rehearse: (to: Revision, signal: AbortSignal) => Promise<RehearsalReport>;
  /** Agents in memory that are on another revision than `to`, those to begin with first. */
  readonly canariesFirst: (to: Revision) => readonly string[];
}

export interface SwapResult {
  readonly record: SwapRecord;
  /** The first agent's failure to move, for a person. */
  readonly failureReason: string;
}

/** Of the watched window, for the canaries alone; whoever asked for the swap waits for it. */
const CANARY_SHARE = 0.1;
const CANARY_MAX_MS = 5_000;
const RETRY: BackoffConfig = { firstMs: 100, maxMs: 10_000, factor: 2 };

export class SwapRun {
  readonly from: Revision;
  readonly to: Revision;
  readonly #ground: SwapRunGround;
  readonly #before: SwapRecord;
  readonly #there = new MoveTally();
  readonly #back = new MoveTally();
  readonly #stop = new AbortController();
  readonly #served = new Deferred<SwapResult>();
  readonly #over = new Deferred<SwapRecord>();
  #record: SwapRecord;
  #later = false;
  /** Why it is given up, once that is decided; empty before. */
  #abandoned = "";
  #endWatch: (() => void) | null = null;
  #look: (() => void) | null = null;
  #comparedWith: Tally;

  constructor(ground: SwapRunGround, from: Revision, to: Revision, record: SwapRecord) {
    this.#ground = ground;
    this.from = from;
    this.to = to;
    this.#record = record;
    this.#before = record;
    this.#comparedWith = ground.health.tallyOf(from.digest);
    this.#there.onLate = () => void this.#noteLate();
    this.#served.promise.catch(() => undefined);
    // Neither is forgotten while agents may have to go to it (S6).
    for (const { digest } of [from, to]) ground.modules.retain(digest);
  }

  get record(): SwapRecord {
    return this.#record;
  }

  /** Counts an agent that moved as it came to memory. */
  count(agentId: string, outcome: SwapOutcome): void {
    this.#ground.moves.count(this.#there, agentId, this.to, outcome);
    this.#look?.();
  }

  /** When all have moved that could, or it is over before. Rejects when the host stops first. */
  get served(): Promise<SwapResult> {
    return this.#served.promise;
  }

  /** Its last record, when it is over or the host stops. */
  get over(): Promise<SwapRecord> {
    return this.#over.promise;
  }

  /** Agents on the new revision are on trial there: they are not to be brought back unasked. */
  get onTrial(): boolean {
    return this.#record.state === "CANARY" || this.#record.state === "MOVING";
  }

  /** It has not come to an end that a further try could change. */
  get mayServe(): boolean {
    return this.#abandoned === "" && this.#record.state !== "REVERTING" && !isOver(this.#record);
  }

  /** A later revision is there. */
  giveWay(): void {
    this.#later = true;
    this.#endWatch?.();
  }

  /** The host closes: the swap stays as the store has it, and goes on with the next host. */
  stop(): void {
    this.#stop.abort();
    this.#endWatch?.();
  }

  /** Resolves when it is over or stopped. Never rejects. */
  async run(): Promise<void> {
    for (let attempt = 0; !this.#stopped && !isOver(this.#record); attempt++) {
      try {
        await this.#goOn();
      } catch (thrown) {
        await this.#failed(SirsiError.from(thrown), attempt);
      }
    }
    for (const { digest } of [this.from, this.to]) this.#ground.modules.release(digest);
    this.#over.resolve(this.#record);
    this.#served.reject(new SirsiError("SHUTTING_DOWN", "the host is shutting down: the swap goes on when it is back; see `sirsi module swaps`", { retryAfterMs: 1_000 }));
  }

  get #stopped(): boolean {
    return this.#stop.signal.aborted;
  }

  /** W3: what is active goes on; what is not is given up. */
  async #failed(error: SirsiError, attempt: number): Promise<void> {
    if (this.#stopped) return;
    const { module, state, swapId } = this.#record;
    this.#ground.log.error({ module, swapId, state, err: error.message }, "a swap met a fault of the host");
    if (state === "REHEARSING" || state === "CANARY") {
      this.#served.reject(error);
      this.#abandoned ||= `${SWAP_REASONS.hostFailed}${error.message}`;
    }
    await this.#pause(backoffMs(RETRY, attempt, 0.5));
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#ground.clock.after(ms, resolve);
      this.#stop.signal.addEventListener("abort", () => {
        timer.cancel();
        resolve();
      });
    });
  }

  async #goOn(): Promise<void> {
    if (this.#abandoned !== "") return await this.#giveUp(this.#abandoned);
    switch (this.#record.state) {
      case "REHEARSING":
        return await this.#rehearse();
      case "CANARY":
        return await this.#tryCanaries();
      case "MOVING":
        return await this.#moveAll();
      case "WATCHING":
        return await this.#watch();
      case "REVERTING":
        return await this.#revert();
      default:
    }
  }

  // --- before the revision is active ---------------------------------------------------

  async #rehearse(): Promise<void> {
    const { module } = this.#record;
    if ((await this.#others()) === 0) return await this.#turn("MOVING");
    await this.#ground.store.putSwap(this.#record);
    const report = await this.#ground.rehearse(this.to, this.#stop.signal);
    this.#requireGoing();
    faultPoint("swap.rehearsed");
    this.#record = { ...this.#record, rehearsal: report.sentences };
    if (report.refusal !== "") {
      this.#ground.log.warn({ module, digest: this.to.digest, reason: report.refusal }, "a revision failed its rehearsal and does not serve");
      return await this.#reject(report.refusal);
    }
    if (this.#passed()) return await this.#giveUp(SWAP_REASONS.superseded);
    await this.#turn("CANARY");
  }

  async #tryCanaries(): Promise<void> {
    const { clock, health } = this.#ground;
    const agentIds = this.#ground.canariesFirst(this.to);
    const share = Math.max(1, Math.ceil((agentIds.length * this.#record.canaryPercent) / 100));
    health.begin(this.to.digest);
    this.#comparedWith = health.tallyOf(this.from.digest);
    const began = clock.monotonic();
    await this.#move(agentIds.slice(0, share), "swap");
    const left = Math.min(this.#record.watchMs * CANARY_SHARE, CANARY_MAX_MS) - (clock.monotonic() - began);
    const reason = this.#there.refused > 0 ? this.#there.failureReason : await this.#watched(this.#there.moved > 0 ? left : 0, OF_CANARIES);
    if (reason !== "") return await this.#reject(reason);
    if (this.#passed()) return await this.#giveUp(SWAP_REASONS.superseded);
    await this.#turn("MOVING");
  }

  /** Another revision is what the module's file holds by now. */
  #passed(): boolean {
    return this.#later || this.#ground.modules.candidateOf(this.#record.module)?.digest !== this.to.digest;
  }

  /** S4: the revision does not serve, and is not taken again unasked. */
  async #reject(reason: string): Promise<void> {
    await this.#moveBack();
    await this.#ground.modules.reject(this.#record.module, this.to, reason);
    await this.#end("REJECTED", reason);
  }

  /** Nothing is said against the revision. */
  async #giveUp(reason: string): Promise<void> {
    await this.#moveBack();
    await this.#ground.modules.withdraw(this.#record.module, this.to.digest);
    await this.#end("REJECTED", reason);
  }

  // --- moving --------------------------------------------------------------------------

  async #moveAll(): Promise<void> {
    const { modules } = this.#ground;
    const { module } = this.#record;
    faultPoint("swap.before-activate");
    try {
      await modules.activate(module, this.to.digest);
    } catch (thrown) {
      const error = SirsiError.from(thrown);
      if (error.code === "MODULE_REJECTED" || error.code === "MODULE_NOT_FOUND") return await this.#giveUp(SWAP_REASONS.superseded);
      throw error;
    }
    faultPoint("swap.activated");
    await this.#untilNoneIsLeft(this.to, "swap", (digest) => digest !== this.to.digest);
    if ((await this.#others()) === 0 && this.#there.moved === 0 && this.#before.moved === 0) return await this.#end("KEPT", "");
    const reason = this.#verdict(OF_ALL);
    if (reason !== "") return await this.#turn("REVERTING", reason);
    await this.#turn("WATCHING");
  }

  async #watch(): Promise<void> {
    this.#tellServed();
    const reason = this.#later ? "" : await this.#watched(this.#record.watchMs, OF_ALL);
    if (reason === "") return await this.#end("KEPT", "");
    await this.#turn("REVERTING", reason);
  }

  async #revert(): Promise<void> {
    const { log, modules, store } = this.#ground;
    const { module, reason } = this.#record;
    await store.putSwap(this.#record); // W1, of one that begins here
    faultPoint("swap.before-revert");
    log.warn({ module, from: this.to.digest, to: this.from.digest, reason }, "a revision is not kept: its agents move back");
    await modules.revert(module, this.to, this.from, reason);
    await this.#moveBack();
    await this.#end("REVERTED", reason);
  }

  async #move(agentIds: readonly string[], cause: SwapCause): Promise<void> {
    const [to, tally] = cause === "swap" ? [this.to, this.#there] : [this.from, this.#back];
    await this.#ground.moves.move({ agentIds, to, cause, tally, signal: this.#stop.signal });
    this.#requireGoing();
  }

  /** Also those that were made on it meanwhile, and those that come to it when their step ends. */
  async #moveBack(): Promise<void> {
    await this.#untilNoneIsLeft(this.from, "revert", (digest) => digest === this.to.digest, [...this.#there.late]);
  }

  /** Agents that are spawned meanwhile are found by the next look. Each is tried once. */
  async #untilNoneIsLeft(to: Revision, cause: SwapCause, wanted: (digest: string) => boolean, first: readonly string[] = []): Promise<void> {
    const tried = new Set<string>();
    for (let agentIds = first; ; ) {
      for (const agentId of agentIds) tried.add(agentId);
      await this.#move(agentIds, cause);
      agentIds = this.#ground.moves.candidates(to.manifest.name, ({ agentId, digest }) => wanted(digest) && !tried.has(agentId));
      if (agentIds.length === 0) return;
    }
  }

  // --- watching ------------------------------------------------------------------------

  #verdict(strictness: Strictness): string {
    return verdictOn(this.#ground.health.tallyOf(this.to.digest), this.#comparedWith, this.#there.refused, strictness);
  }

  /** Why the revision is not kept, as soon as that is known; empty when the time is over or somebody else ends it. */
  async #watched(ms: number, strictness: Strictness): Promise<string> {
    const { clock, health } = this.#ground;
    const reason = await new Promise<string>((resolve) => {
      const timer = clock.after(Math.max(0, ms), () => resolve(this.#verdict(strictness)));
      const look = () => {
        const found = this.#verdict(strictness);
        if (found !== "") end(found);
      };
      const unlisten = health.onBad((digest) => {
        if (digest === this.to.digest) look();
      });
      const end = (why: string) => {
        timer.cancel();
        unlisten();
        resolve(why);
      };
      this.#endWatch = () => end("");
      this.#look = look;
      if (this.#later || this.#stopped) end("");
    });
    this.#endWatch?.();
    this.#endWatch = null;
    this.#look = null;
    this.#requireGoing();
    return reason;
  }

  #requireGoing(): void {
    if (this.#stopped) throw new SirsiError("SHUTTING_DOWN", "the host is shutting down");
  }

  // --- the record ----------------------------------------------------------------------

  /** Agents on other revisions, asleep or not. */
  async #others(): Promise<number> {
    const { module } = this.#record;
    const counts = await this.#ground.store.countByDigest(module);
    return [...counts].reduce((sum, [digest, count]) => (digest === this.to.digest ? sum : sum + count), 0);
  }

  /** Of a revision that is not kept, `kept` are those that are on it still; else those that are elsewhere. */
  async #counted(record: SwapRecord): Promise<SwapRecord> {
    const there = withTally(record, this.#before, this.#there);
    const failed = there.failed + this.#back.failed;
    const undone = record.state === "REVERTED" || record.state === "REVERTING" || record.state === "REJECTED";
    const left = undone ? ((await this.#ground.store.countByDigest(record.module)).get(this.to.digest) ?? 0) : await this.#others();
    return { ...there, failed, reverted: this.#before.reverted + this.#back.moved, kept: Math.max(0, left - failed) };
  }

  /** W1 */
  async #turn(state: SwapStateName, reason = ""): Promise<void> {
    const { clock, log, store } = this.#ground;
    const next = await this.#counted({ ...this.#record, state, reason, endedAt: isOver({ state }) ? clock.now() : null });
    await store.putSwap(next);
    this.#record = next;
    const { module, swapId, moved, kept, failed, reverted, pauseP99Ms } = next;
    log.info({ module, swapId, from: this.from.digest, to: this.to.digest, state, moved, kept, failed, reverted, pauseP99Ms, reason }, "a swap has taken a turn");
  }

  async #end(state: SwapStateName, reason: string): Promise<void> {
    faultPoint("swap.before-end");
    await this.#turn(state, reason);
    this.#tellServed();
  }

  #tellServed(): void {
    this.#served.resolve({ record: this.#record, failureReason: this.#there.failureReason || this.#back.failureReason });
  }

  /** An agent's step has ended when the swap was over: until then the turns count it. */
  async #noteLate(): Promise<void> {
    if (this.#stopped || !isOver(this.#record)) return;
    try {
      this.#record = await this.#counted(this.#record);
      await this.#ground.store.putSwap(this.#record);
    } catch (thrown) {
      this.#ground.log.warn({ swapId: this.#record.swapId, err: SirsiError.from(thrown).message }, "a swap's late agents could not be noted");
    }
  }
}
