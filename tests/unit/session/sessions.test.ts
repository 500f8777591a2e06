import { beforeEach, describe, expect, it } from "vitest";
import type { HostEvent } from "../../../runtime/agent/agents.ts";
import { ManualClock } from "../../../runtime/core/clock.ts";
import { Deferred } from "../../../runtime/core/deferred.ts";
import { SirsiError } from "../../../runtime/core/errors.ts";
import { newId } from "../../../runtime/core/ids.ts";
import { DEFAULT_HOST_LIMITS } from "../../../runtime/core/limits.ts";
import { silentLogger } from "../../../runtime/observe/logger.ts";
import { openSessions } from "../../../runtime/session/index.ts";
import type { SessionDraft, SessionSettings, Sessions } from "../../../runtime/session/index.ts";
import { FakeAgents, manifest } from "../../support/fake-agents.ts";
import { codeOf, refusal, SETTINGS, wrongFields } from "../../support/service-bench.ts";
import { SessionShelf } from "../../support/session-shelf.ts";

const DRAFT: SessionDraft = { userId: "ada", context: { ticket: "7" }, maxAgents: 0, timeoutSeconds: 0, enableLogging: true, preferences: { theme: "dark" }, profile: null };
const ECHO = manifest("echo");
const DOWN = new SirsiError("STORE_UNAVAILABLE", "the disk is full");

let clock: ManualClock;
let shelf: SessionShelf;
let agents: FakeAgents;
let told: string[];
let sessions: Sessions;

const events = {
  publish: (event: HostEvent) => void told.push(`${event.type} ${event.attributes["state"] ?? ""}`.trim()),
  begin: () => void told.push("begin"),
  end: (_sessionId: string, last: HostEvent) => void told.push(`${last.type} ${last.attributes["reason"]}`),
  forget: () => void told.push("forget"),
};

function open(settings: Partial<SessionSettings> = {}, maxSessions = 10): Promise<Sessions> {
  return openSessions({ store: shelf, agents, events, clock, settings: { ...SETTINGS, ...settings }, limits: { ...DEFAULT_HOST_LIMITS, maxSessions }, log: silentLogger });
}

beforeEach(async () => {
  clock = new ManualClock();
  shelf = new SessionShelf();
  agents = new FakeAgents(clock, ECHO);
  told = [];
  sessions = await open();
});

describe("creating", () => {
  it("fills in the host's defaults, is on disk when it is answered, and is announced", async () => {
    const session = await sessions.create(DRAFT);
    expect(session).toMatchObject({ userId: "ada", state: "ACTIVE", metadata: { ticket: "7" }, expiresAt: clock.now() + 3_600_000 });
    expect(session.config).toEqual({ maxAgents: DEFAULT_HOST_LIMITS.maxAgentsPerSession, timeoutSeconds: 3_600, enableLogging: true, preferences: { theme: "dark" } });
    expect(shelf.sessions.get(session.sessionId)).toEqual(session);
    expect(told).toEqual(["begin", "SESSION_CREATED"]);
    expect(sessions.openCount).toBe(1);
  });

  it("takes the limits that are asked for", async () => {
    const { config, expiresAt } = await sessions.create({ ...DRAFT, maxAgents: 3, timeoutSeconds: 60 });
    expect(config).toMatchObject({ maxAgents: 3, timeoutSeconds: 60 });
    expect(expiresAt).toBe(clock.now() + 60_000);
  });

  it("names every wrong field at once", async () => {
    const crowd = Object.fromEntries(Array.from({ length: 300 }, (_, n) => [`k${n}`, ""]));
    const error = await refusal(
      sessions.create({ userId: "", context: crowd, maxAgents: 100_001, timeoutSeconds: -1, enableLogging: false, preferences: crowd, profile: { displayName: "x".repeat(300), preferences: crowd } }),
    );
    expect(error.code).toBe("INVALID_ARGUMENT");
    expect(wrongFields(error)).toEqual(["config.max_agents", "config.preferences", "config.timeout_seconds", "context", "user_id", "user_profile.display_name", "user_profile.preferences"]);
    expect(sessions.openCount).toBe(0);
  });

  it.each([" ada", "ada\n", "a\u0000b", "x".repeat(257)])("refuses the user id %j", async (userId) => {
    expect(wrongFields(await refusal(sessions.create({ ...DRAFT, userId })))).toEqual(["user_id"]);
  });

  it("refuses more open sessions than the host may have, and takes one again when another has ended", async () => {
    sessions = await open({}, 2);
    const { sessionId } = await sessions.create(DRAFT);
    await sessions.create(DRAFT);
    expect(await codeOf(sessions.create(DRAFT))).toBe("OVERLOADED");
    await sessions.end(sessionId);
    expect((await sessions.create(DRAFT)).state).toBe("ACTIVE");
  });

  it("leaves nothing behind when the store refuses it", async () => {
    shelf.fault = DOWN;
    expect(await codeOf(sessions.create(DRAFT))).toBe("STORE_UNAVAILABLE");
    expect([sessions.openCount, told]).toEqual([0, []]);
  });

  it("joins what is known of the user, and a new profile replaces it", async () => {
    await sessions.create({ ...DRAFT, profile: { displayName: "Ada", preferences: { unit: "metric" } } });
    expect(await sessions.users.get("ada")).toMatchObject({ displayName: "Ada", preferences: { unit: "metric" } });
    await sessions.create({ ...DRAFT, profile: { displayName: "Lady Ada", preferences: {} } });
    expect(await sessions.users.get("ada")).toMatchObject({ displayName: "Lady Ada", preferences: {} });
    await sessions.create(DRAFT);
    expect((await (await open()).users.get("ada"))?.displayName).toBe("Lady Ada");
    expect(await sessions.users.get("nobody")).toBeNull();
  });

  it("does not take a profile for known that the store refused", async () => {
    shelf.fault = DOWN;
    expect(await codeOf(sessions.create({ ...DRAFT, profile: { displayName: "Ada", preferences: {} } }))).toBe("STORE_UNAVAILABLE");
    expect(await sessions.users.get("ada")).toBeNull();
  });
});

describe("requiring an active session", () => {
  it("answers at once, without the store, when the session was used lately", async () => {
    const { sessionId } = await sessions.create(DRAFT);
    const before = shelf.reads;
    expect(sessions.requireActive(sessionId)).toMatchObject({ sessionId, state: "ACTIVE" });
    expect(shelf.reads).toBe(before);
  });

  it("refuses from the moment of expiry on, says when it expired, and needs no sweep for it", async () => {
    const { sessionId, expiresAt } = await sessions.create(DRAFT);
    clock.advance(3_599_999);
    expect(sessions.requireActive(sessionId)).toMatchObject({ state: "ACTIVE" });
    clock.advance(1);
    const error = await refusal((async () => await sessions.requireActive(sessionId))());
    expect(error.code).toBe("SESSION_EXPIRED");
    expect(error.message).toContain(new Date(expiresAt).toISOString());
    expect(error.message).toContain("create a new one");
    expect(error.details.metadata).toMatchObject({ session_id: sessionId, expired_at: new Date(expiresAt).toISOString() });
    expect(await sessions.find(sessionId)).toMatchObject({ state: "EXPIRED" });
    await sessions.close();
    expect(shelf.sessions.get(sessionId)?.state).toBe("EXPIRED");
    expect(told).toContain("STATUS_CHANGED EXPIRED");
  });

  it("refuses a session that was ended, and one that there never was", async () => {
    const { sessionId } = await sessions.create(DRAFT);
    await sessions.end(sessionId);
    expect(await codeOf((async () => await sessions.requireActive(sessionId))())).toBe("SESSION_TERMINATED");
    expect(await codeOf((async () => await sessions.requireActive(newId(1)))())).toBe("SESSION_NOT_FOUND");
  });

  it("wakes a suspended session", async () => {
    const { sessionId } = await sessions.create(DRAFT);
    shelf.sessions.set(sessionId, { ...shelf.sessions.get(sessionId)!, state: "SUSPENDED" });
    sessions = await open();
    expect(await sessions.requireActive(sessionId)).toMatchObject({ state: "ACTIVE" });
    await sessions.close();
    expect(shelf.sessions.get(sessionId)?.state).toBe("ACTIVE");
  });

  it("does not lose a change to a slower reading of the store", async () => {
    const { sessionId } = await sessions.create(DRAFT);
    sessions = await open();
    const [read] = await Promise.all([sessions.requireActive(sessionId), sessions.extend(sessionId, 7_200)]);
    expect(read.sessionId).toBe(sessionId);
    expect((await sessions.find(sessionId)).expiresAt).toBe(clock.now() + 7_200_000);
  });
});

describe("extending", () => {
  it("moves the expiry from now on, by the session's own timeout when none is said", async () => {
    const { sessionId } = await sessions.create({ ...DRAFT, timeoutSeconds: 100 });
    clock.advance(50_000);
    expect((await sessions.extend(sessionId, 0)).expiresAt).toBe(clock.now() + 100_000);
    expect((await sessions.extend(sessionId, 10)).expiresAt).toBe(clock.now() + 10_000);
    expect(shelf.sessions.get(sessionId)?.expiresAt).toBe(clock.now() + 10_000);
    expect(told.slice(-1)).toEqual(["SESSION_EXTENDED ACTIVE"]);
  });

  it("refuses nonsense, and sessions that have closed", async () => {
    const { sessionId } = await sessions.create(DRAFT);
    expect(wrongFields(await refusal(sessions.extend(sessionId, -1)))).toEqual(["extend_seconds"]);
    expect(wrongFields(await refusal(sessions.extend(sessionId, 366 * 86_400)))).toEqual(["extend_seconds"]);
    clock.advance(3_600_000);
    expect(await codeOf(sessions.extend(sessionId, 60))).toBe("SESSION_EXPIRED");
    await sessions.end(sessionId);
    expect(await codeOf(sessions.extend(sessionId, 60))).toBe("SESSION_TERMINATED");
  });

  it("does not bring back a session that is ended meanwhile", async () => {
    const { sessionId } = await sessions.create(DRAFT);
    const ended = sessions.end(sessionId);
    expect(await codeOf(sessions.extend(sessionId, 60))).toBe("SESSION_TERMINATED");
    await ended;
    expect(shelf.sessions.get(sessionId)?.state).toBe("TERMINATED");
  });

  it("forgets an extension that the store refused", async () => {
    const { sessionId, expiresAt } = await sessions.create(DRAFT);
    shelf.fault = DOWN;
    expect(await codeOf(sessions.extend(sessionId, 100_000))).toBe("STORE_UNAVAILABLE");
    expect((await sessions.find(sessionId)).expiresAt).toBe(expiresAt);
    shelf.fault = null;
    clock.advance(3_600_000);
    await sessions.sweep();
    expect(shelf.sessions.get(sessionId)?.state).toBe("EXPIRED");
  });
});

describe("ending", () => {
  it("ends the agents, announces it last, and may be repeated", async () => {
    const { sessionId } = await sessions.create(DRAFT);
    const one = agents.put(ECHO, { sessionId }).record.agentId;
    const two = agents.put(ECHO, { sessionId }).record.agentId;
    const foreign = agents.put(ECHO, { sessionId: newId(1) }).record.agentId;
    await sessions.end(sessionId);
    expect(agents.stops.map(({ agentId }) => agentId)).toEqual([one, two]);
    expect(agents.find(foreign)?.record.state).not.toBe("TERMINATED");
    expect(told.at(-1)).toBe("SESSION_ENDED deleted");
    expect(shelf.sessions.get(sessionId)?.state).toBe("TERMINATED");
    expect(sessions.isOver(await sessions.find(sessionId))).toBe(true);
    await sessions.end(sessionId);
    expect(agents.stops).toHaveLength(2);
  });

  it("tries again at the next sweep when an agent could not be ended, and ends the others meanwhile", async () => {
    const { sessionId } = await sessions.create(DRAFT);
    const stuck = agents.put(ECHO, { sessionId }).record.agentId;
    const easy = agents.put(ECHO, { sessionId }).record.agentId;
    agents.stopping = (agentId) => (agentId === stuck ? Promise.reject(DOWN) : Promise.resolve());
    expect(await codeOf(sessions.end(sessionId))).toBe("STORE_UNAVAILABLE");
    expect(agents.find(easy)?.record.state).toBe("TERMINATED");
    await sessions.sweep();
    expect(sessions.isOver(await sessions.find(sessionId))).toBe(false);
    agents.stopping = () => Promise.resolve();
    await sessions.sweep();
    expect(agents.find(stuck)?.record.state).toBe("TERMINATED");
    expect(sessions.isOver(await sessions.find(sessionId))).toBe(true);
  });

  it("winds down once when two ask for it at the same time", async () => {
    const { sessionId } = await sessions.create(DRAFT);
    agents.put(ECHO, { sessionId });
    const held = new Deferred<void>();
    agents.stopping = () => held.promise;
    const both = Promise.all([sessions.end(sessionId), sessions.end(sessionId)]);
    await Promise.resolve();
    held.resolve();
    await both;
    expect(agents.stops).toHaveLength(1);
  });

  it("does not know a session that never was", async () => {
    expect(await codeOf(sessions.end(newId(1)))).toBe("SESSION_NOT_FOUND");
  });
});

describe("expiry and retention", () => {
  it("expires by the timer's sweep, ends the agents after the grace, removes after the retention", async () => {
    const { sessionId } = await sessions.create({ ...DRAFT, timeoutSeconds: 100 });
    const { agentId } = agents.put(ECHO, { sessionId }).record;
    clock.advance(100_000);
    await sessions.sweep();
    expect(shelf.sessions.get(sessionId)?.state).toBe("EXPIRED");
    expect([agents.stops.length, sessions.openCount]).toEqual([0, 0]);
    clock.advance(29_999);
    await sessions.sweep();
    expect(agents.stops).toEqual([]);
    clock.advance(1);
    await sessions.sweep();
    expect(agents.stops).toEqual([{ agentId, reason: "its session expired" }]);
    expect(told.at(-1)).toBe("SESSION_ENDED expired");
    clock.advance(86_400_000 - 30_001);
    await sessions.sweep();
    expect(await sessions.find(sessionId)).toMatchObject({ state: "EXPIRED" });
    clock.advance(1);
    await sessions.sweep();
    expect(shelf.sessions.size).toBe(0);
    expect(told.at(-1)).toBe("forget");
    expect(await codeOf((async () => await sessions.find(sessionId))())).toBe("SESSION_NOT_FOUND");
  });

  it("never removes a session whose agents are not ended yet", async () => {
    sessions = await open({ retentionSeconds: 0 });
    const { sessionId } = await sessions.create(DRAFT);
    agents.put(ECHO, { sessionId });
    agents.stopping = () => Promise.reject(DOWN);
    await codeOf(sessions.end(sessionId));
    await sessions.sweep();
    expect(shelf.sessions.has(sessionId)).toBe(true);
    agents.stopping = () => Promise.resolve();
    await sessions.sweep();
    expect(shelf.sessions.has(sessionId)).toBe(false);
  });

  it("sweeps by itself, again after a sweep that failed, and not once it is closed", async () => {
    const first = await sessions.create({ ...DRAFT, timeoutSeconds: 1 });
    shelf.fault = DOWN;
    clock.advance(5_000);
    await sessions.sweep();
    expect(shelf.sessions.get(first.sessionId)?.state).toBe("ACTIVE");
    shelf.fault = null;
    // The sweep that the timer began re-arms it once it has ended.
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(5_000);
    await sessions.sweep();
    expect(shelf.sessions.get(first.sessionId)?.state).toBe("EXPIRED");
    const second = await sessions.create({ ...DRAFT, timeoutSeconds: 1 });
    await sessions.close();
    clock.advance(60_000);
    expect(shelf.sessions.get(second.sessionId)?.state).toBe("ACTIVE");
  });

  it("goes on sweeping after a sweep that could not read the store", async () => {
    const { sessionId } = await sessions.create({ ...DRAFT, timeoutSeconds: 1 });
    const read = shelf.listSessions.bind(shelf);
    shelf.listSessions = () => Promise.reject(DOWN);
    clock.advance(5_000);
    await new Promise((resolve) => setImmediate(resolve));
    shelf.listSessions = read;
    // Each sweep is armed when the one before has ended, and so runs at its own turn.
    for (const step of [86_500_000, 5_000]) {
      clock.advance(step);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await sessions.close();
    expect(shelf.sessions.has(sessionId)).toBe(false);
  });

  it("does not forget an expiry over a restart, nor agents that were to be ended", async () => {
    const ripe = await sessions.create({ ...DRAFT, timeoutSeconds: 100 });
    const dying = await sessions.create({ ...DRAFT, timeoutSeconds: 10 });
    const { agentId } = agents.put(ECHO, { sessionId: dying.sessionId }).record;
    clock.advance(10_000);
    await sessions.sweep();
    await sessions.close();
    clock.advance(90_000);
    told = [];
    sessions = await open();
    expect(sessions.openCount).toBe(1);
    await sessions.sweep();
    expect(shelf.sessions.get(ripe.sessionId)?.state).toBe("EXPIRED");
    expect(agents.stops).toEqual([{ agentId, reason: "its session expired" }]);
  });

  it("restores and removes more sessions than fit into one reading", async () => {
    sessions = await open({}, 1_000);
    for (let n = 0; n < 450; n++) await sessions.create({ ...DRAFT, timeoutSeconds: 10 });
    sessions = await open({}, 1_000);
    expect(sessions.openCount).toBe(450);
    clock.advance(86_500_000);
    await sessions.sweep();
    expect([sessions.openCount, shelf.sessions.size]).toEqual([0, 0]);
  });

  it("gives up on a session that the store has lost", async () => {
    const { sessionId } = await sessions.create({ ...DRAFT, timeoutSeconds: 10 });
    sessions = await open();
    shelf.sessions.delete(sessionId);
    clock.advance(10_000);
    await sessions.sweep();
    expect(sessions.openCount).toBe(0);
  });
});

describe("listing", () => {
  it("shows sessions newest first, by user and by state", async () => {
    const made = [];
    for (const userId of ["ada", "bob", "ada"]) {
      clock.advance(1);
      made.push((await sessions.create({ ...DRAFT, userId })).sessionId);
    }
    await sessions.end(made[2]!);
    const ids = async (userId: string | null, states: ("ACTIVE" | "TERMINATED")[]) => (await sessions.list({ userId, states, before: null, limit: 10 })).map(({ sessionId }) => sessionId);
    expect(await ids(null, ["ACTIVE"])).toEqual([made[1], made[0]]);
    expect(await ids("ada", ["ACTIVE", "TERMINATED"])).toEqual([made[2], made[0]]);
    expect(await ids("ada", [])).toEqual([made[2], made[0]]);
  });

  it("does not show a session as active whose expiry has passed, and still fills the page", async () => {
    await sessions.create(DRAFT);
    clock.advance(1);
    await sessions.create({ ...DRAFT, timeoutSeconds: 1 });
    clock.advance(1);
    const newest = await sessions.create(DRAFT);
    clock.advance(2_000);
    const page = await sessions.list({ userId: null, states: ["ACTIVE"], before: null, limit: 2 });
    expect(page.map(({ state }) => state)).toEqual(["ACTIVE", "ACTIVE"]);
    expect(page[0]?.sessionId).toBe(newest.sessionId);
  });
});
