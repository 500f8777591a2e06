/**
 * The sessions of this host: made, extended, ended, expired, removed.
 *
 * States and their changes are session-state.ts; this is the shell that carries
 * out their effects. The store holds the truth; memory holds the records used
 * lately (bounded) and, for every open session, when it expires.
 *
 * Invariants: (1) a change is in memory at once and answered once it is on disk;
 * when the disk refuses it, memory forgets it; (2) a session past its expiry
 * never takes work, whether or not a sweep has come by; (3) a session is removed
 * only after its agents were ended; (4) closing sessions whose agents could not be
 * ended are tried again by the next sweep; (5) in a fleet a change made elsewhere is known
 * here at once if its notice comes, and with the next sweep if it does not.
 */
import type { Agents, HostEvent } from "../agent/agents.ts";
import { BoundedCache } from "../core/bounded-cache.ts";
import type { Clock } from "../core/clock.ts";
import { SirsiError } from "../core/errors.ts";
import { FieldViolations } from "../core/field-violations.ts";
import { newId } from "../core/ids.ts";
import type { HostLimits } from "../core/limits.ts";
import type { Logger } from "../observe/logger.ts";
import type { SessionQuery, SessionRecord, SessionStateName, Store } from "../store/store.ts";
import { checkDraft, checkTimeout, recordOf } from "./session-draft.ts";
import type { DraftRules, SessionDraft } from "./session-draft.ts";
import { sessionNotFound, sessionRefusal } from "./session-errors.ts";
import { isOpen, sessionStep } from "./session-state.ts";
import type { SessionEffect, SessionEvent } from "./session-state.ts";
import type { SessionEvents } from "./session-events.ts";
import { Sweep } from "./sweep.ts";
import { Users } from "./users.ts";

const RECORDS_CACHED = 16_384;
/** Sessions read from the store at a time. */
const PAGE = 200;
const ENDED_AT_ONCE = 256;
/** Sessions of a fleet that one sweep does something for. */
const DUE_AT_ONCE = 1_000;

export interface SessionSettings {
  readonly defaultTimeoutSeconds: number;
  /** From expiry until its agents are ended. */
  readonly graceSeconds: number;
  /** From expiry or end until it is removed. */
  readonly retentionSeconds: number;
  readonly sweepIntervalSeconds: number;
}

/** What sessions of a fleet need of it: any host may change any session. */
export interface SessionFleet {
  /** A change of it is on disk. */
  readonly changed: (sessionId: string) => void;
  /** This host does for it what is due without anybody's asking. */
  readonly mine: (sessionId: string) => boolean;
  /** Open sessions past their expiry, and closed ones that still have agents. */
  readonly due: (before: number, limit: number) => Promise<readonly string[]>;
}

export interface SessionDeps {
  readonly store: Pick<Store, "putSession" | "getSession" | "listSessions" | "deleteSession" | "putUser" | "getUser">;
  readonly agents: Pick<Agents, "countOf" | "list" | "stop">;
  readonly events: Pick<SessionEvents, "publish" | "begin" | "end" | "forget">;
  readonly clock: Clock;
  readonly settings: SessionSettings;
  readonly limits: Pick<HostLimits, "maxSessions" | "maxAgentsPerSession" | "mapMaxEntries">;
  readonly log: Logger;
  /** Absent: this host alone changes sessions. */
  readonly fleet?: SessionFleet;
}

/** Reads what the store has, so that no expiry is forgotten over a restart, and begins to sweep. */
export async function openSessions(deps: SessionDeps): Promise<Sessions> {
  const sessions = new Sessions(deps);
  await sessions.restore();
  return sessions;
}

export class Sessions {
  readonly users: Users;
  readonly #deps: SessionDeps;
  readonly #rules: DraftRules;
  readonly #sweep: Sweep;
  #cache = new BoundedCache<string, SessionRecord>(RECORDS_CACHED);
  /** Every open session, and when it expires. */
  readonly #expiries = new Map<string, number>();
  /** Sessions that have closed and whose agents are still to be ended, and from when on. */
  readonly #closing = new Map<string, number>();
  readonly #windingDown = new Map<string, Promise<void>>();
  readonly #background = new Set<Promise<void>>();

  /** For openSessions, which alone makes one fit for use. */
  constructor(deps: SessionDeps) {
    this.#deps = deps;
    this.#rules = { defaultTimeoutSeconds: deps.settings.defaultTimeoutSeconds, limits: deps.limits };
    this.users = new Users(deps.store, deps.clock);
    this.#sweep = new Sweep(deps.clock, deps.settings.sweepIntervalSeconds * 1_000, deps.log, () => this.#sweepOnce());
  }

  /** Sessions that are ACTIVE or SUSPENDED. */
  get openCount(): number {
    return this.#expiries.size;
  }

  async restore(): Promise<void> {
    // A fleet's are asked for when something is due.
    if (this.#deps.fleet === undefined) await this.#readAll();
    this.#sweep.start();
  }

  async #readAll(): Promise<void> {
    let before: SessionQuery["before"] = null;
    for (;;) {
      const page = await this.#deps.store.listSessions({ userId: null, states: [], before, limit: PAGE });
      await Promise.all(page.map((session) => this.#remind(session)));
      const last = page.at(-1);
      if (last === undefined || page.length < PAGE) break;
      before = { createdAt: last.createdAt, sessionId: last.sessionId };
    }
  }

  async #remind(session: SessionRecord): Promise<void> {
    if (isOpen(session.state)) this.#expiries.set(session.sessionId, session.expiresAt);
    else if ((await this.#deps.agents.countOf(session.sessionId)) > 0) this.#closing.set(session.sessionId, this.#windDownAt(session));
  }

  async create(draft: SessionDraft): Promise<SessionRecord> {
    const { clock, events, limits } = this.#deps;
    checkDraft(draft, this.#rules);
    if (this.#expiries.size >= limits.maxSessions) {
      throw new SirsiError("OVERLOADED", `the host has ${limits.maxSessions} open sessions and may have no more; delete those that are done, or raise sessions.max`, { retryAfterMs: 5_000 });
    }
    const now = clock.now();
    const session = recordOf(draft, this.#rules, newId(now), now);
    if (draft.profile !== null) await this.users.put(draft.userId, draft.profile);
    await this.#save(session, null);
    events.begin(session.sessionId);
    events.publish(sessionEvent(session, "SESSION_CREATED", { user_id: session.userId }));
    return session;
  }

  /** Another host of the fleet changed it. */
  changedElsewhere(sessionId: string): void {
    this.#cache.delete(sessionId);
    this.#expiries.delete(sessionId);
    this.#closing.delete(sessionId);
  }

  /** Any session there is, open or not; SESSION_NOT_FOUND. At once when it was used lately. */
  find(sessionId: string): SessionRecord | Promise<SessionRecord> {
    const cached = this.#cache.get(sessionId);
    return cached === undefined ? this.#load(sessionId).then((session) => this.#expireIfDue(session)) : this.#expireIfDue(cached);
  }

  /** Whether a session has closed and its agents are ended: nothing more will happen in it. */
  isOver(session: SessionRecord): boolean {
    return !isOpen(session.state) && !this.#closing.has(session.sessionId);
  }

  /** A session that takes work; SESSION_NOT_FOUND, SESSION_EXPIRED, SESSION_TERMINATED. At once when it was used lately. */
  requireActive(sessionId: string): SessionRecord | Promise<SessionRecord> {
    const cached = this.#cache.get(sessionId);
    if (cached === undefined) return this.#load(sessionId).then((session) => this.#touch(session));
    if (cached.state === "ACTIVE" && cached.expiresAt > this.#deps.clock.now()) return cached;
    return this.#touch(cached);
  }

  /** Newest first. A session whose expiry has passed is told as EXPIRED, though a sweep may not have come by. */
  async list(query: SessionQuery): Promise<readonly SessionRecord[]> {
    const wanted: SessionRecord[] = [];
    let { before } = query;
    for (;;) {
      const asked = query.limit - wanted.length;
      const page = await this.#deps.store.listSessions({ ...query, before, limit: asked });
      for (const stored of page) {
        const session = this.#expireIfDue(this.#cache.get(stored.sessionId) ?? stored);
        if (query.states.length === 0 || query.states.includes(session.state)) wanted.push(session);
      }
      const last = page.at(-1);
      if (last === undefined || wanted.length >= query.limit || page.length < asked) return wanted;
      before = { createdAt: last.createdAt, sessionId: last.sessionId };
    }
  }

  /** Sets the expiry to `seconds` from now; 0 for the session's own timeout. */
  async extend(sessionId: string, seconds: number): Promise<SessionRecord> {
    const wrong = new FieldViolations();
    checkTimeout(seconds, "extend_seconds", wrong);
    wrong.throwIfAny();
    const session = await this.find(sessionId);
    const lifetime = seconds === 0 ? session.config.timeoutSeconds : seconds;
    return await this.#apply(session, "extended", { expiresAt: this.#deps.clock.now() + lifetime * 1_000 });
  }

  /** Ends a session and its agents; resolves when they have ended. Repeatable until retention removes it. */
  async end(sessionId: string): Promise<void> {
    await this.#apply(await this.find(sessionId), "ended");
  }

  /** Looks once for what is due. The timer does this by itself. */
  async sweep(): Promise<void> {
    await this.#sweep.run();
  }

  /** Stops sweeping and waits for what was begun. Repeatable. */
  async close(): Promise<void> {
    await this.#sweep.close();
    await Promise.all(this.#background);
  }

  async #load(sessionId: string): Promise<SessionRecord> {
    const stored = await this.#deps.store.getSession(sessionId);
    // A change that came in between knows better.
    const since = this.#cache.get(sessionId);
    if (since !== undefined) return since;
    if (stored === null) throw sessionNotFound(sessionId);
    this.#cache.set(sessionId, stored);
    return stored;
  }

  #touch(session: SessionRecord): SessionRecord {
    const current = this.#expireIfDue(session);
    const [, effects] = sessionStep(current.state, "touched");
    if (effects.length === 0) return current;
    const refusal = effects.find((effect) => effect.kind === "refuse");
    if (refusal !== undefined) throw sessionRefusal(current, refusal.code);
    return this.#applyInBackground(current, "touched");
  }

  #expireIfDue(session: SessionRecord): SessionRecord {
    if (!isOpen(session.state) || session.expiresAt > this.#deps.clock.now()) return session;
    return this.#applyInBackground(session, "expired");
  }

  /** For changes that nobody waits for: in memory at once, on disk soon. */
  #applyInBackground(session: SessionRecord, event: SessionEvent): SessionRecord {
    const task = this.#apply(session, event).then(
      () => {},
      (err: unknown) => this.#deps.log.warn({ err, sessionId: session.sessionId, event }, "a session's change could not be carried out; the next sweep or access tries again"),
    );
    this.#background.add(task);
    void task.then(() => this.#background.delete(task));
    return this.#cache.get(session.sessionId) ?? session;
  }

  /** One step of the state machine with its effects. Memory changes before the first wait. */
  async #apply(found: SessionRecord, event: SessionEvent, changes: Partial<SessionRecord> = {}): Promise<SessionRecord> {
    // Since the caller found it, another change may have come.
    const before = this.#cache.get(found.sessionId) ?? found;
    const [state, effects] = sessionStep(before.state, event);
    let session = before;
    for (const effect of effects) {
      if (effect.kind === "save") {
        session = { ...before, ...changes, state, updatedAt: this.#deps.clock.now() };
        await this.#save(session, before);
      } else {
        await this.#carryOut(effect, session);
      }
    }
    return session;
  }

  async #carryOut(effect: Exclude<SessionEffect, { kind: "save" }>, session: SessionRecord): Promise<void> {
    switch (effect.kind) {
      case "refuse":
        throw sessionRefusal(session, effect.code);
      case "announce":
        this.#deps.events.publish(sessionEvent(session, effect.type, { state: session.state, expires_at: new Date(session.expiresAt).toISOString() }));
        return;
      case "wind_down":
        await this.#windDown(session, effect.reason);
        return;
      case "remove":
        await this.#remove(session);
    }
  }

  async #save(session: SessionRecord, before: SessionRecord | null): Promise<void> {
    this.#remember(session);
    try {
      await this.#deps.store.putSession(session);
      // Whoever read the store meanwhile may have put back what it was before.
      if (this.#cache.get(session.sessionId) !== session) this.#cache.delete(session.sessionId);
      this.#deps.fleet?.changed(session.sessionId);
    } catch (thrown) {
      if (this.#cache.get(session.sessionId) === session) {
        if (before === null) this.#expiries.delete(session.sessionId);
        else this.#remember(before);
        // The store knows which of the two it has.
        this.#cache.delete(session.sessionId);
      }
      throw thrown;
    }
  }

  #remember(session: SessionRecord): void {
    this.#cache.set(session.sessionId, session);
    if (isOpen(session.state)) {
      this.#expiries.set(session.sessionId, session.expiresAt);
      this.#closing.delete(session.sessionId);
      return;
    }
    this.#expiries.delete(session.sessionId);
    this.#closing.set(session.sessionId, this.#windDownAt(session));
  }

  #windDownAt(session: SessionRecord): number {
    return session.state === "EXPIRED" ? session.expiresAt + this.#deps.settings.graceSeconds * 1_000 : session.updatedAt;
  }

  #removeAt(session: SessionRecord): number {
    return (session.state === "EXPIRED" ? session.expiresAt : session.updatedAt) + this.#deps.settings.retentionSeconds * 1_000;
  }

  /** One winding down at a time for a session; whoever comes second waits for the first. */
  #windDown(session: SessionRecord, reason: "expired" | "deleted"): Promise<void> {
    const { sessionId } = session;
    let running = this.#windingDown.get(sessionId);
    if (running === undefined) {
      running = this.#endAgents(session, reason).finally(() => this.#windingDown.delete(sessionId));
      this.#windingDown.set(sessionId, running);
    }
    return running;
  }

  async #endAgents(session: SessionRecord, reason: "expired" | "deleted"): Promise<void> {
    const { agents, events } = this.#deps;
    const { sessionId } = session;
    const why = reason === "expired" ? "its session expired" : "its session was deleted";
    let failed: PromiseRejectedResult | undefined;
    // Page by page: a session may have more agents than may be ended at once.
    for (let after: string | null = ""; after !== null; ) {
      const { views, next }: Awaited<ReturnType<Agents["list"]>> = await agents.list(sessionId, after, ENDED_AT_ONCE);
      const stops = await Promise.allSettled(views.map(({ record }) => agents.stop(record.agentId, why)));
      failed ??= stops.find((stop) => stop.status === "rejected");
      after = next;
    }
    if (failed !== undefined) throw SirsiError.from(failed.reason);
    this.#closing.delete(sessionId);
    events.end(sessionId, sessionEvent(session, "SESSION_ENDED", { reason }));
  }

  async #remove(session: SessionRecord): Promise<void> {
    const { sessionId } = session;
    await this.#deps.store.deleteSession(sessionId);
    this.#cache.delete(sessionId);
    this.#deps.events.forget(sessionId);
    this.#deps.fleet?.changed(sessionId);
  }

  async #sweepOnce(): Promise<void> {
    const now = this.#deps.clock.now();
    if (this.#deps.fleet !== undefined) return await this.#sweepFleet(this.#deps.fleet, now);
    for (const sessionId of dueBy(now, this.#expiries)) await this.#attempt(sessionId, "expired");
    await Promise.all(this.#background);
    for (const sessionId of dueBy(now, this.#closing)) await this.#attempt(sessionId, "grace_over");
    await this.#removeOld(now);
  }

  /** (5) What was read before is read anew; what is due is done by one host, as far as hosts agree which, and is harmless twice. */
  async #sweepFleet({ due, mine }: SessionFleet, now: number): Promise<void> {
    this.#cache = new BoundedCache(RECORDS_CACHED);
    for (const sessionId of await due(now, DUE_AT_ONCE)) {
      if (!mine(sessionId)) continue;
      const session = await this.#load(sessionId).catch(() => null);
      if (session === null) continue;
      if (isOpen(session.state)) await this.#attempt(sessionId, "expired");
      else if (this.#windDownAt(session) <= now) await this.#attempt(sessionId, "grace_over");
    }
    await Promise.all(this.#background);
    await this.#removeOld(now, mine);
  }

  /** One session's trouble is not the others'. */
  async #attempt(sessionId: string, event: "expired" | "grace_over"): Promise<void> {
    try {
      const session = await this.find(sessionId);
      if (event === "grace_over") await this.#apply(session, event);
    } catch (thrown) {
      const error = SirsiError.from(thrown);
      if (error.code === "SESSION_NOT_FOUND") {
        this.#expiries.delete(sessionId);
        this.#closing.delete(sessionId);
      } else {
        this.#deps.log.warn({ err: error, sessionId, event }, "a session could not be swept; the next sweep tries again");
      }
    }
  }

  async #removeOld(now: number, mine: (sessionId: string) => boolean = () => true): Promise<void> {
    const states: readonly SessionStateName[] = ["EXPIRED", "TERMINATED"];
    let before: SessionQuery["before"] = null;
    for (;;) {
      const page = await this.#deps.store.listSessions({ userId: null, states, before, limit: PAGE });
      for (const session of page) {
        if (this.#removeAt(session) > now || this.#closing.has(session.sessionId) || !mine(session.sessionId)) continue;
        if (this.#deps.fleet === undefined || (await this.#deps.agents.countOf(session.sessionId)) === 0) await this.#apply(session, "retention_over");
      }
      const last = page.at(-1);
      if (last === undefined || page.length < PAGE) return;
      before = { createdAt: last.createdAt, sessionId: last.sessionId };
    }
  }
}

/** A list of its own, for the map changes while it is worked through. */
function dueBy(now: number, times: ReadonlyMap<string, number>): string[] {
  return [...times].filter(([, at]) => at <= now).map(([sessionId]) => sessionId);
}

function sessionEvent(session: SessionRecord, type: string, attributes: Readonly<Record<string, string>>): HostEvent {
  return { type, sessionId: session.sessionId, sourceAgentId: "", targetAgentId: "", payload: null, topic: "", attributes, traceparent: "" };
}
