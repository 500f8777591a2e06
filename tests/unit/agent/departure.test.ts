import { beforeEach, describe, expect, it } from "vitest";
import type { AgentPhase } from "../../../runtime/agent/agent-state.ts";
import { Changes } from "../../../runtime/agent/changes.ts";
import { depart, type Departed, type Departing } from "../../../runtime/agent/departure.ts";
import { WaitGate } from "../../../runtime/agent/wait-gate.ts";
import type { Work } from "../../../runtime/agent/work.ts";
import { ManualClock } from "../../../runtime/core/clock.ts";
import { SirsiError } from "../../../runtime/core/errors.ts";
import { turn } from "../../support/turn.ts";

const WORK = { kind: "message" } as unknown as Work;

/** An agent whose steps the test begins and ends. */
class Agent implements Departing {
  readonly id = "a";
  readonly clock = new ManualClock();
  readonly around = { clock: this.clock };
  readonly gate = new WaitGate();
  readonly changes = new Changes();
  phase: AgentPhase = { kind: "ready" };
  current: Work | null = null;
  waiting = 0;
  saved = 0;
  unsaveable = false;
  gone = false;

  holdStill() {
    const hold = this.changes.hold();
    this.pump();
    return hold;
  }

  pump(): void {
    if (this.phase.kind === "ready" && this.current === null) void this.changes.next()?.act().then(() => this.pump());
  }

  begin(): void {
    this.current = WORK;
    this.phase = { kind: "busy" };
  }

  end(): void {
    this.gate.over();
    this.current = null;
    this.phase = { kind: "ready" };
    this.pump();
  }

  save(): Promise<void> {
    this.saved++;
    return this.unsaveable ? Promise.reject(new SirsiError("STORE_UNAVAILABLE", "the disk is full")) : Promise.resolve();
  }

  goElsewhere(): void {
    this.gone = true;
    this.phase = { kind: "left" };
  }
}

let agent: Agent;
let given: number;
let give: () => Promise<boolean>;
beforeEach(() => {
  agent = new Agent();
  given = 0;
  give = () => Promise.resolve(true);
});

function going(patienceMs = 1_000): { readonly outcome: Promise<Departed>; settled: boolean } {
  const outcome = depart(agent, () => (given++, give()), patienceMs);
  const watched = { outcome, settled: false };
  void outcome.then(() => (watched.settled = true));
  return watched;
}

describe("an agent that is to go", () => {
  it("at rest is saved, given and gone, and says for how long it stood still", async () => {
    give = () => Promise.resolve(true).finally(() => agent.clock.advance(30));
    expect(await going().outcome).toEqual({ kind: "moved", hadWork: false, pauseMs: 30 });
    expect([agent.saved, given, agent.gone, agent.clock.pending]).toEqual([1, 1, true, 0]);
  });

  it("that cannot be saved is not given", async () => {
    agent.unsaveable = true;
    expect(await going().outcome).toEqual({ kind: "stayed", reason: "the disk is full" });
    expect([given, agent.gone, agent.changes.idle]).toEqual([0, false, true]);
  });

  it("Z1 in a step goes when that has ended, and takes no other before", async () => {
    agent.begin();
    agent.waiting = 3;
    const departure = going();
    await turn();
    expect(departure.settled).toBe(false);
    agent.end();
    expect(await departure.outcome).toMatchObject({ kind: "moved", hadWork: true });
  });

  it("Z1 goes from its next wait, and the answer that comes meanwhile does not go on", async () => {
    agent.begin();
    let finish: (is: boolean) => void = () => undefined;
    give = () => new Promise((resolve) => (finish = resolve));
    const departure = going();
    agent.gate.asked(true);
    const held = agent.gate.answered();
    let wentOn = false;
    void held?.then(() => (wentOn = true));
    await turn();
    expect([held === null, wentOn, agent.gate.waiting, given]).toEqual([false, false, true, 1]);
    finish(false);
    expect(await departure.outcome).toEqual({ kind: "stayed", reason: "it was not given away" });
    await turn();
    expect([wentOn, agent.gate.waiting, agent.gone, agent.saved]).toEqual([true, false, false, 0]);
    // Nothing of it is left: the next wait is nobody's affair.
    agent.gate.asked(true);
    expect([agent.gate.answered(), agent.changes.idle]).toEqual([null, true]);
  });

  it("in a wait for something that may not be asked for twice is given time to have its answer", async () => {
    agent.begin();
    agent.gate.asked(false);
    const departure = going();
    await turn();
    expect([given, departure.settled]).toEqual([0, false]);
    expect(agent.gate.answered()).toBeNull();
    agent.end();
    expect(await departure.outcome).toMatchObject({ kind: "moved", hadWork: false });
  });

  it("goes from such a wait when its time is up: it can go on elsewhere, if need be", async () => {
    agent.begin();
    agent.gate.asked(false);
    const departure = going();
    agent.clock.advance(1_000);
    expect(await departure.outcome).toMatchObject({ kind: "moved", hadWork: true });
  });

  it("whose step does not end in time stays, and nothing stands in its way then", async () => {
    agent.begin();
    const departure = going();
    agent.clock.advance(1_000);
    expect(await departure.outcome).toMatchObject({ kind: "stayed", reason: expect.stringContaining("1000 ms") as string });
    agent.gate.asked(true);
    expect([agent.gate.answered(), agent.changes.idle, given]).toEqual([null, true, 0]);
  });

  it.each(["quarantined", "restarting"] as const)("%s goes as it is", async (kind) => {
    agent.phase = { kind, reason: "it failed" };
    expect(await going().outcome).toMatchObject({ kind: "moved" });
  });

  it("set aside, and let go on while it is given, takes no step before that is over", async () => {
    agent.phase = { kind: "quarantined", reason: "it failed" };
    let finish: (is: boolean) => void = () => undefined;
    give = () => new Promise((resolve) => (finish = resolve));
    const departure = going();
    await turn();
    agent.phase = { kind: "ready" };
    agent.pump();
    expect(agent.changes.next()).toBeUndefined();
    finish(false);
    expect((await departure.outcome).kind).toBe("stayed");
    expect(agent.changes.idle).toBe(true);
  });

  it("that ends while it is waited for stays, with the reason", async () => {
    agent.begin();
    const departure = going();
    agent.changes.refuseAll(new SirsiError("AGENT_TERMINATED", "it was ended"));
    expect(await departure.outcome).toEqual({ kind: "stayed", reason: "it was ended" });
    expect(given).toBe(0);
  });

  it("whose giving fails stays, with the reason", async () => {
    give = () => Promise.reject(new SirsiError("STORE_UNAVAILABLE", "no answer"));
    expect(await going().outcome).toEqual({ kind: "stayed", reason: "no answer" });
    expect([agent.gone, agent.changes.idle]).toEqual([false, true]);
  });
});
