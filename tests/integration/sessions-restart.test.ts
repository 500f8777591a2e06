import { afterEach, beforeEach, expect, it } from "vitest";
import { ManualClock } from "../../runtime/core/clock.ts";
import { DEFAULT_HOST_LIMITS } from "../../runtime/core/limits.ts";
import { silentLogger } from "../../runtime/observe/logger.ts";
import { openSessions } from "../../runtime/session/index.ts";
import type { Sessions } from "../../runtime/session/index.ts";
import { FakeAgents } from "../support/fake-agents.ts";
import { codeOf, SETTINGS } from "../support/service-bench.ts";
import { StoreFolder } from "../support/store-folder.ts";

let folder: StoreFolder;
let clock: ManualClock;
beforeEach(async () => {
  folder = await StoreFolder.make();
  clock = new ManualClock();
});
afterEach(() => folder.dispose());

/** One life of a host on the folder. */
async function live(work: (sessions: Sessions) => Promise<void>): Promise<void> {
  const store = await folder.open();
  const events = { publish: () => {}, begin: () => {}, end: () => {}, forget: () => {} };
  const sessions = await openSessions({ store, agents: new FakeAgents(clock), events, clock, settings: SETTINGS, limits: DEFAULT_HOST_LIMITS, log: silentLogger });
  await work(sessions);
  await sessions.close();
  await store.close();
}

const DRAFT = { userId: "ada", context: { ticket: "7" }, maxAgents: 3, timeoutSeconds: 100, enableLogging: true, preferences: { theme: "dark" }, profile: { displayName: "Ada", preferences: {} } };

it("sessions, their users and their expiry outlive the host that made them", async () => {
  let made = "";
  await live(async (sessions) => {
    const session = await sessions.create(DRAFT);
    made = session.sessionId;
    for (let n = 0; n < 250; n++) await sessions.create({ ...DRAFT, profile: null });
  });
  await live(async (sessions) => {
    expect(sessions.openCount).toBe(251);
    expect(await sessions.requireActive(made)).toMatchObject({ userId: "ada", metadata: { ticket: "7" }, config: { maxAgents: 3, preferences: { theme: "dark" } } });
    expect((await sessions.users.get("ada"))?.displayName).toBe("Ada");
    await sessions.extend(made, 1_000);
  });
  clock.advance(100_000);
  await live(async (sessions) => {
    await sessions.sweep();
    expect(sessions.openCount).toBe(1);
    expect(await sessions.list({ userId: "ada", states: ["EXPIRED"], before: null, limit: 1_000 })).toHaveLength(250);
    await sessions.end(made);
  });
  clock.advance(86_400_000);
  await live(async (sessions) => {
    await sessions.sweep();
    expect(await codeOf((async () => await sessions.find(made))())).toBe("SESSION_NOT_FOUND");
    expect(await sessions.list({ userId: null, states: [], before: null, limit: 10 })).toEqual([]);
  });
});
