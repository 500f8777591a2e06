import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { OutboxCourier } from "../../../runtime/agent/outbox-courier.ts";
import type { Message } from "../../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { GuestEmitSchema, MessageCallSchema } from "../../../runtime/contract/gen/sirsi/agent/v1/guest_pb.ts";
import { ManualClock } from "../../../runtime/core/clock.ts";
import { Deferred } from "../../../runtime/core/deferred.ts";
import { SirsiError } from "../../../runtime/core/errors.ts";
import { silentLogger } from "../../../runtime/observe/index.ts";
import type { DeadLetter, OutboxKey, StoredOutboxEntry } from "../../../runtime/store/store.ts";
import { turn } from "../../support/turn.ts";

const SESSION = "s";
const text = (key: OutboxKey) => `${key.agentId}/${key.commitSequence}/${key.index}`;

/** The outbox of a store, in memory. */
class Shelf {
  entries: StoredOutboxEntry[] = [];
  letters: DeadLetter[] = [];
  settled: string[] = [];
  pages = 0;
  fault: SirsiError | null = null;
  /** Awaited by every reading of a page, after it was read. */
  reading: () => Promise<void> = () => Promise.resolve();

  async listOutbox(after: number | null, limit: number) {
    if (this.fault !== null) throw this.fault;
    this.pages++;
    const from = after ?? 0;
    const page = this.entries.slice(from, from + limit);
    const next = from + limit < this.entries.length ? from + limit : null;
    await this.reading();
    return { entries: page.filter((entry) => entry !== GONE), next };
  }

  settleOutbox(keys: readonly OutboxKey[]): Promise<void> {
    if (this.fault !== null) return Promise.reject(this.fault);
    for (const key of keys) {
      this.settled.push(text(key));
      this.take(key);
    }
    return Promise.resolve();
  }

  deadLetterOutbox(key: OutboxKey, letter: DeadLetter): Promise<void> {
    if (this.fault !== null) return Promise.reject(this.fault);
    this.take(key);
    this.letters.push(letter);
    return Promise.resolve();
  }

  /** As a receiver's commit does. Places stay, so that cursors do. */
  take(key: OutboxKey): void {
    this.entries = this.entries.map((entry) => (entry !== GONE && text(entry.key) === text(key) ? GONE : entry));
  }

  get left(): number {
    return this.entries.filter((entry) => entry !== GONE).length;
  }
}
const GONE = { kind: "gone" } as unknown as StoredOutboxEntry;

let clock: ManualClock;
let shelf: Shelf;
let delivered: string[];
let ids: string[];
let published: string[];
let dead: DeadLetter[];
let answer: (entry: StoredOutboxEntry, message: Message) => Promise<"taken" | "kept">;
let courier: OutboxCourier;
let sequence: number;
beforeEach(() => {
  clock = new ManualClock();
  shelf = new Shelf();
  delivered = [];
  ids = [];
  published = [];
  dead = [];
  answer = () => Promise.resolve("taken");
  sequence = 0;
  courier = open();
});
afterEach(() => courier.close());

function open(limits: { readonly heldMax?: number; readonly laneMax?: number } = {}): OutboxCourier {
  return new OutboxCourier({
    clock,
    random: () => 0.999,
    store: shelf,
    log: silentLogger,
    deliver: async (entry, message) => {
      delivered.push(`${entry.target}:${message.content}`);
      ids.push(message.messageId);
      const outcome = await answer(entry, message);
      if (outcome === "taken") shelf.take(entry.key);
      return outcome;
    },
    publish: (_entry, event) => published.push(event.eventType),
    onDead: (letter) => dead.push(letter),
    ...limits,
  });
}

function message(from: string, to: string, content: string, messageId = ""): StoredOutboxEntry {
  const body = toBinary(GuestEmitSchema, create(GuestEmitSchema, { emit: { case: "message", value: { agentId: to, message: { messageId, content } } } }));
  return { kind: "message", target: to, body, createdAt: 0, sessionId: SESSION, key: { agentId: from, commitSequence: ++sequence, index: 0 } };
}

function event(from: string, eventType: string): StoredOutboxEntry {
  const body = toBinary(GuestEmitSchema, create(GuestEmitSchema, { emit: { case: "event", value: { eventType } } }));
  return { kind: "event", target: "", body, createdAt: 0, sessionId: SESSION, key: { agentId: from, commitSequence: ++sequence, index: 0 } };
}

/** As a commit does: on disk, then told. */
function commit(...entries: readonly StoredOutboxEntry[]): void {
  shelf.entries.push(...entries);
  courier.committed(entries);
}

async function started(): Promise<void> {
  courier.start();
  await turn();
}

describe("lanes", () => {
  it("O1: one at a time and in order for a pair, and pairs do not wait for each other", async () => {
    await started();
    const gate = new Deferred<"taken">();
    answer = (entry) => (entry.target === "slow" ? gate.promise : Promise.resolve("taken"));
    commit(message("a", "slow", "1"), message("a", "slow", "2"), message("a", "quick", "3"), message("b", "slow", "4"));
    await turn();
    expect(delivered).toEqual(["slow:1", "quick:3", "slow:4"]);
    gate.resolve("taken");
    await turn();
    expect(delivered).toEqual(["slow:1", "quick:3", "slow:4", "slow:2"]);
    expect([shelf.left, courier.held]).toEqual([0, 0]);
  });

  it("O1: what is refused for now is tried again with growing pauses, and holds up what follows it", async () => {
    await started();
    let refusals = 2;
    answer = () => (refusals-- > 0 ? Promise.reject(new SirsiError("MAILBOX_FULL", "full", { retryAfterMs: 10 })) : Promise.resolve("taken"));
    commit(message("a", "b", "1"), message("a", "b", "2"));
    await turn();
    clock.advance(49);
    await turn();
    expect(delivered).toEqual(["b:1"]);
    clock.advance(1);
    await turn();
    expect(delivered).toEqual(["b:1", "b:1"]);
    clock.advance(100);
    await turn();
    expect(delivered).toEqual(["b:1", "b:1", "b:1", "b:2"]);
  });

  it("a message has the guest's id when that is one, or one made of its place", async () => {
    await started();
    commit(message("a", "b", "1", "mine"), message("a", "b", "2", "no good id"));
    await turn();
    expect(ids).toEqual(["mine", "out-a-2-0"]);
  });

  it("what a receiver without commits took, or had already, is settled", async () => {
    await started();
    answer = () => Promise.resolve("kept");
    commit(message("a", "b", "1"), message("a", "c", "2"));
    await turn();
    expect(shelf.settled.toSorted()).toEqual(["a/1/0", "a/2/0"]);
    expect(courier.held).toBe(0);
  });

  it("a receiver's own error is its answer", async () => {
    await started();
    answer = () => Promise.reject(new SirsiError("GUEST_ERROR", "no thanks"));
    commit(message("a", "b", "1"));
    await turn();
    expect([delivered.length, shelf.left, dead.length]).toEqual([1, 0, 0]);
  });
});

describe("dead letters", () => {
  it("what can never be delivered becomes one at once, in the order of its lane", async () => {
    await started();
    answer = (entry) => (entry.target === "nobody" ? Promise.reject(new SirsiError("AGENT_NOT_FOUND", "no such agent")) : Promise.resolve("taken"));
    commit(message("a", "nobody", "1", "id-1"), message("a", "nobody", "2"));
    await turn();
    expect(shelf.letters).toEqual(dead);
    expect(dead).toMatchObject([
      { agentId: "nobody", sessionId: SESSION, sourceAgentId: "a", messageId: "id-1", reason: "AGENT_NOT_FOUND", explanation: "no such agent", attempts: 1, deadAt: clock.now() },
      { agentId: "nobody", messageId: "out-a-2-0" },
    ]);
    const call = fromBinary(MessageCallSchema, dead[0]!.body);
    expect([call.message?.content, call.sourceAgentId]).toEqual(["1", "a"]);
    expect(shelf.left).toBe(0);
  });

  it("what a receiver fails on ten times becomes one, and what it refuses never does", async () => {
    await started();
    answer = (entry) => Promise.reject(new SirsiError(entry.target === "trap" ? "GUEST_TRAP" : "AGENT_QUARANTINED", "no"));
    commit(message("a", "trap", "1"), message("a", "set aside", "2"));
    for (let n = 0; n < 40; n++) {
      clock.advance(30_000);
      await turn();
    }
    expect(dead).toMatchObject([{ agentId: "trap", attempts: 10 }]);
    expect(delivered.filter((each) => each.startsWith("set aside")).length).toBeGreaterThan(20);
    expect(shelf.left).toBe(1);
  });

  it("one that the store does not take is tried again", async () => {
    await started();
    answer = () => Promise.reject(new SirsiError("AGENT_TERMINATED", "over"));
    shelf.fault = new SirsiError("STORE_UNAVAILABLE", "full");
    commit(message("a", "b", "1"));
    await turn();
    expect(dead).toEqual([]);
    shelf.fault = null;
    clock.advance(1_000);
    await turn();
    expect(dead).toHaveLength(1);
  });

  it("an entry that holds no message becomes one, and blocks nothing", async () => {
    await started();
    commit({ ...message("a", "b", "1"), body: Uint8Array.of(255, 255) }, message("a", "b", "2"));
    await turn();
    expect(dead).toMatchObject([{ messageId: "" }]);
    expect(delivered).toEqual(["b:2"]);
  });
});

describe("events", () => {
  it("are published in order and settled together", async () => {
    await started();
    commit(event("a", "one"), event("a", "two"));
    commit(event("b", "three"));
    expect(published).toEqual(["one", "two", "three"]);
    await turn();
    expect(shelf.settled).toEqual(["a/1/0", "a/2/0", "b/3/0"]);
    expect(courier.held).toBe(0);
  });

  it("are settled later when the store refuses, and published once", async () => {
    await started();
    shelf.fault = new SirsiError("STORE_UNAVAILABLE", "full");
    commit(event("a", "one"));
    await turn();
    shelf.fault = null;
    clock.advance(60);
    await turn();
    expect([published, shelf.left]).toEqual([["one"], 0]);
  });
});

describe("the store", () => {
  it("D3: what was there at the start is delivered, page after page, and what is committed meanwhile after it", async () => {
    for (let n = 1; n <= 450; n++) shelf.entries.push(message("a", "b", String(n)));
    let read = 0;
    shelf.reading = () => {
      if (++read === 2) commit(message("a", "b", "451"));
      return Promise.resolve();
    };
    await started();
    await turn(10);
    commit(message("a", "b", "452"));
    await turn();
    expect(delivered).toEqual(Array.from({ length: 452 }, (_, n) => `b:${n + 1}`));
    expect([shelf.left, courier.held]).toEqual([0, 0]);
  });

  it("nothing is delivered before the start", async () => {
    commit(message("a", "b", "1"), event("a", "one"));
    await turn();
    expect([delivered, published]).toEqual([[], []]);
    await started();
    expect([delivered, published]).toEqual([["b:1"], ["one"]]);
  });

  it("O3, O4: more than memory may hold stays in the store, and comes in order", async () => {
    courier = open({ heldMax: 10 });
    await started();
    const gate = new Deferred<"taken">();
    answer = () => gate.promise;
    const wanted: string[] = [];
    for (let n = 0; n < 100; n++) {
      const to = `to-${n % 20}`;
      wanted.push(`${to}:${n}`);
      commit(message("a", to, String(n)));
      expect(courier.held).toBeLessThanOrEqual(10);
    }
    await turn();
    expect(courier.held).toBeLessThanOrEqual(10);
    answer = () => Promise.resolve("taken");
    gate.resolve("taken");
    await turn(60);
    expect(delivered.toSorted()).toEqual(wanted.toSorted());
    for (let lane = 0; lane < 20; lane++) {
      const of = (all: readonly string[]) => all.filter((each) => each.startsWith(`to-${lane}:`));
      expect(of(delivered)).toEqual(of(wanted));
    }
    expect([shelf.left, courier.held]).toEqual([0, 0]);
  });

  it("O3, O4: of a lane whose receiver takes nothing one entry is held; when it takes again, all come in order", async () => {
    courier = open({ laneMax: 5 });
    await started();
    answer = (entry) => (entry.target === "set aside" ? Promise.reject(new SirsiError("AGENT_QUARANTINED", "no")) : Promise.resolve("taken"));
    for (let n = 0; n < 20; n++) commit(message("a", "set aside", String(n)));
    for (let n = 0; n < 6; n++) {
      clock.advance(5_000);
      await turn();
    }
    expect(courier.held).toBe(1);
    commit(message("a", "other", "x"));
    commit(message("a", "set aside", "20"));
    await turn();
    expect(delivered.at(-1)).toBe("other:x");
    delivered.length = 0;
    answer = () => Promise.resolve("taken");
    clock.advance(30_000);
    await turn(60);
    expect(delivered).toEqual(Array.from({ length: 21 }, (_, n) => `set aside:${n}`));
    expect([shelf.left, courier.held]).toEqual([0, 0]);
  });

  it("what was done while a page was read is not done again", async () => {
    await started();
    courier = open({ laneMax: 1 });
    courier.start();
    await turn();
    const gate = new Deferred<void>();
    commit(message("a", "b", "1"), message("a", "b", "2"));
    shelf.reading = () => gate.promise;
    await turn();
    expect(delivered).toEqual(["b:1"]);
    commit(message("c", "d", "3"));
    await turn();
    gate.resolve();
    await turn(10);
    expect(delivered.toSorted()).toEqual(["b:1", "b:2", "d:3"]);
  });

  it("one that cannot be read is read again", async () => {
    shelf.entries.push(message("a", "b", "1"));
    shelf.fault = new SirsiError("STORE_UNAVAILABLE", "no");
    await started();
    shelf.fault = null;
    clock.advance(1_000);
    await turn();
    expect(delivered).toEqual(["b:1"]);
  });

  it("after the close nothing more is delivered, and what was delivered is settled", async () => {
    await started();
    const gate = new Deferred<"kept">();
    answer = () => gate.promise;
    commit(message("a", "b", "1"), message("a", "b", "2"));
    await turn();
    const closed = courier.close();
    gate.resolve("kept");
    await closed;
    await turn();
    commit(message("a", "b", "3"));
    clock.advance(60_000);
    await turn();
    expect(delivered).toEqual(["b:1"]);
  });
});

describe("senders of a fleet", () => {
  it("O5: what one that came had left in the store goes before what it commits here", async () => {
    await started();
    // It was committed on another host, which did not get it delivered.
    shelf.entries.push(message("new", "b", "1"), message("new", "b", "2"), event("new", "early"));
    const gate = new Deferred<void>();
    shelf.reading = () => gate.promise;
    courier.rescan("new");
    commit(message("new", "b", "3"), event("new", "late"));
    commit(message("a", "b", "other"));
    await turn();
    expect([delivered, published]).toEqual([["b:other"], []]);
    gate.resolve();
    await turn(10);
    expect([delivered, published, shelf.left, courier.held]).toEqual([["b:other", "b:1", "b:2", "b:3"], ["early", "late"], 0, 0]);
    commit(message("new", "b", "4"));
    await turn();
    expect(delivered.at(-1)).toBe("b:4");
  });

  it("O5: one that comes while the store is read is read from its beginning", async () => {
    shelf.entries.push(...Array.from({ length: 250 }, (_, n) => (n === 240 ? message("new", "b", "2") : event("a", "e"))));
    const first = message("new", "b", "1");
    let pages = 0;
    shelf.reading = async () => {
      // It comes when the page on which its first entry lies has been read.
      if (++pages !== 1) return;
      shelf.entries[5] = first;
      courier.rescan("new");
    };
    courier.start();
    await turn(20);
    expect(delivered).toEqual(["b:1", "b:2"]);
  });

  it("nothing more is delivered for one that was forgotten, nor by the reading under way; for others it is", async () => {
    await started();
    const gate = new Deferred<"kept">();
    answer = () => gate.promise;
    commit(message("gone", "b", "1"), message("gone", "b", "2"), message("gone", "c", "3"), message("a", "b", "4"), message("a", "b", "5"));
    await turn();
    expect([courier.holds("gone"), courier.holds("a")]).toEqual([true, true]);
    courier.forget(new Set(["gone"]));
    expect(courier.holds("gone")).toBe(false);
    gate.resolve("kept");
    await turn(10);
    expect([delivered, shelf.settled, courier.held]).toEqual([["b:1", "c:3", "b:4", "b:5"], ["a/4/0", "a/5/0"], 0]);
    const reading = new Deferred<void>();
    shelf.reading = () => reading.promise;
    courier.rescanExpected();
    await turn();
    courier.forget(new Set(["gone"]));
    reading.resolve();
    await turn(10);
    expect(delivered).toHaveLength(4);
  });

  it("a message of one that was forgotten is not set aside for an error that comes too late", async () => {
    await started();
    const gate = new Deferred<"kept">();
    answer = () => gate.promise;
    commit(message("gone", "b", "1"));
    await turn();
    courier.forget(new Set(["gone"]));
    gate.reject(new SirsiError("AGENT_NOT_FOUND", "no such agent"));
    await turn();
    expect([shelf.letters, dead]).toEqual([[], []]);
  });

  it("a host that was buried drops everything without a write, and begins again from the store", async () => {
    await started();
    const gate = new Deferred<"kept">();
    answer = () => gate.promise;
    commit(message("a", "b", "1"), message("a", "b", "2"));
    await turn();
    shelf.fault = new SirsiError("AGENT_FENCED", "buried");
    commit(event("a", "e"));
    await turn();
    courier.reset();
    gate.resolve("kept");
    clock.advance(60_000);
    shelf.fault = null;
    commit(message("a", "b", "3"));
    clock.advance(60_000);
    await turn(10);
    expect([delivered, shelf.settled, courier.held, clock.pending]).toEqual([["b:1"], [], 0, 0]);
    answer = () => Promise.resolve("taken");
    courier.start();
    await turn(10);
    expect([delivered, published, shelf.left]).toEqual([["b:1", "b:1", "b:2", "b:3"], ["e", "e"], 0]);
  });

  it("a reading that a burial overtook places nothing, and the one after it begins anew", async () => {
    shelf.entries.push(message("a", "b", "1"));
    const gate = new Deferred<void>();
    shelf.reading = () => gate.promise;
    await started();
    courier.reset();
    courier.start();
    shelf.entries = [message("c", "d", "2")];
    gate.resolve();
    await turn(10);
    expect(delivered).toEqual(["d:2"]);
  });
});
