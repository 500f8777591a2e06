/** What every SharedContext keeps, as tests. An implementation's own test file calls `contextContract`. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ENTRY_MAX_BYTES } from "../../runtime/session/context/index.ts";
import type { ContextEntry, ContextLimits, SharedContext } from "../../runtime/session/context/index.ts";

export interface ContextUnderTest {
  /** In touch with whatever is behind it, which knows nothing yet. */
  readonly context: SharedContext;
  /** Time goes on: at once by a clock in the test's hand, or by itself. */
  readonly pass: (ms: number) => void;
  dispose(): Promise<void>;
}

type Get = () => ContextUnderTest;

export const LIMITS: ContextLimits = { ttlMs: 60_000, exchangesKept: 5 };

export function entry(sequence: number, mark = 0, length = 3): ContextEntry {
  const body = new Uint8Array(length).fill(mark);
  body[0] = sequence;
  return { sequence, body };
}

const down = (from: number, to: number, mark = 0) => Array.from({ length: from - to + 1 }, (_, n) => entry(from - n, mark));

/** What was written may take a while to be there. */
export function becomes(look: () => unknown, expected: unknown): Promise<void> {
  return vi.waitFor(async () => expect(await look()).toEqual(expected), { timeout: 10_000, interval: 5 });
}

export function contextContract(name: string, open: (limits: ContextLimits) => Promise<ContextUnderTest>): void {
  describe(name, () => {
    let test: ContextUnderTest;
    beforeEach(async () => {
      test = await open(LIMITS);
    });
    afterEach(() => test.dispose());
    const get: Get = () => test;

    describe("conversations", () => conversationContract(get));
    describe("notes", () => notesContract(get));
    describe("rates", () => rateContract(get));
    describe("presence", () => presenceContract(get));

    it("X3: forgets what was not written to for its time to live", async () => {
      const short = await open({ ...LIMITS, ttlMs: 40 });
      const { conversations, notes } = short.context;
      conversations.add("a", entry(1));
      notes.put("s", { one: "1" });
      await becomes(() => conversations.newest("a", 1), [entry(1)]);
      short.pass(50);
      await becomes(() => conversations.newest("a", 1), null);
      await becomes(() => notes.of("s"), null);
      await short.dispose();
    });

    it("may be closed twice, and then knows nothing and takes whatever it is told", async () => {
      const { context } = test;
      await context.close();
      await context.close();
      expect(context.status).toBe("closed");
      context.conversations.add("a", entry(1));
      context.notes.put("s", { one: "1" });
      context.presence.connect("s")();
      expect(await context.rates.take([{ key: "k", perMinute: 1 }])).toEqual({ kind: "granted" });
    });
  });
}

function conversationContract(get: Get): void {
  const add = (...entries: readonly ContextEntry[]) => {
    for (const one of entries) get().context.conversations.add("a", one);
  };
  const newest = (limit = 100) => get().context.conversations.newest("a", limit);

  it("X2: of an agent of which nothing was said is unknown", async () => {
    expect(await newest()).toBeNull();
  });

  it("X4: comes back newest first, byte for byte, as many as asked for", async () => {
    const bodies = [new Uint8Array(0), Uint8Array.from({ length: 256 }, (_, n) => n), new TextEncoder().encode("7:13:10")];
    add(...bodies.map((body, n) => ({ sequence: 9 + n, body })));
    const all = bodies.map((body, n) => ({ sequence: 9 + n, body })).toReversed();
    await becomes(() => newest(), all);
    expect(await newest(2)).toEqual(all.slice(0, 2));
  });

  it("keeps as many exchanges as it may, the newest, whether they come one by one or at once", async () => {
    add(entry(1), entry(2));
    await becomes(() => newest(), down(2, 1));
    add(entry(3));
    await becomes(() => newest(), down(3, 1));
    add(...down(12, 4).toReversed());
    await becomes(() => newest(), down(12, 8));
    add(entry(13));
    await becomes(() => newest(), down(13, 9));
  });

  it("begins anew after a gap", async () => {
    add(entry(1), entry(2));
    await becomes(() => newest(), down(2, 1));
    add(entry(4), entry(5));
    await becomes(() => newest(), down(5, 4));
    add(entry(6), entry(8), entry(9));
    await becomes(() => newest(), down(9, 8));
  });

  it("begins anew when a sequence comes again, and what came before is not taken for what goes before it", async () => {
    add(entry(1), entry(2));
    await becomes(() => newest(), down(2, 1));
    add(entry(2, 7));
    await becomes(() => newest(), [entry(2, 7)]);
    add(entry(3), entry(4), entry(3, 7));
    await becomes(() => newest(), [entry(3, 7)]);
  });

  it("has no gap where an exchange was too large to be kept", async () => {
    add(entry(1));
    await becomes(() => newest(), [entry(1)]);
    add(entry(2, 0, ENTRY_MAX_BYTES + 1));
    await becomes(() => newest(), null);
    add(entry(3, 0, ENTRY_MAX_BYTES));
    await becomes(async () => (await newest())?.map(({ sequence, body }) => [sequence, body.length]), [[3, ENTRY_MAX_BYTES]]);
    add(entry(4, 0, ENTRY_MAX_BYTES + 1), entry(5));
    await becomes(() => newest(), [entry(5)]);
  });

  it("is forgotten when told, with what follows it not taken for its continuation", async () => {
    add(entry(1), entry(2));
    await becomes(() => newest(), down(2, 1));
    get().context.conversations.forget("a");
    add(entry(3));
    await becomes(() => newest(), [entry(3)]);
    add(entry(4));
    get().context.conversations.forget("a");
    await becomes(() => newest(), null);
  });

  it("is each agent's own", async () => {
    const { conversations } = get().context;
    add(entry(1, 1));
    conversations.add("b", entry(1, 2));
    await becomes(() => conversations.newest("b", 1), [entry(1, 2)]);
    conversations.forget("b");
    await becomes(() => conversations.newest("b", 1), null);
    expect(await newest()).toEqual([entry(1, 1)]);
  });
}

function notesContract(get: Get): void {
  it("X2: of a session of which nothing was said are unknown", async () => {
    expect(await get().context.notes.of("s")).toBeNull();
  });

  it("add up, each session's for itself, until they are forgotten", async () => {
    const { notes } = get().context;
    notes.put("s", { one: "1", empty: "" });
    notes.put("s", { "übrig\n": "ja\0", one: "2" });
    notes.put("t", { one: "3" });
    notes.put("u", {});
    await becomes(() => notes.of("s"), { one: "2", empty: "", "übrig\n": "ja\0" });
    await becomes(() => notes.of("t"), { one: "3" });
    expect(await notes.of("u")).toBeNull();
    notes.forget("s");
    await becomes(() => notes.of("s"), null);
    expect(await notes.of("t")).toEqual({ one: "3" });
  });
}

const take = (context: SharedContext, ...rules: readonly (readonly [key: string, perMinute: number])[]) => context.rates.take(rules.map(([key, perMinute]) => ({ key, perMinute })));

async function drain(context: SharedContext, key: string, perMinute: number): Promise<void> {
  for (let n = 0; n < perMinute; n++) expect(await take(context, [key, perMinute])).toEqual({ kind: "granted" });
}

function rateContract(get: Get): void {
  it("grant a minute's worth at once and refuse the next one, telling when to come again", async () => {
    const { context } = get();
    await drain(context, "k", 6);
    const refused = await take(context, ["k", 6]);
    expect(refused).toEqual({ kind: "refused", by: 0, retryAfterMs: expect.any(Number) });
    // One piece comes back every ten seconds.
    expect((refused as { retryAfterMs: number }).retryAfterMs).toBeGreaterThan(0);
    expect((refused as { retryAfterMs: number }).retryAfterMs).toBeLessThanOrEqual(10_000);
    expect(await take(context, ["other", 6])).toEqual({ kind: "granted" });
  });

  it("grant again what has come back, and no more", async () => {
    const { context, pass } = get();
    // One piece comes back every second.
    for (let n = 0; n < 60; n++) await take(context, ["k", 60]);
    await vi.waitFor(async () => expect(await take(context, ["k", 60])).toMatchObject({ kind: "refused" }), { interval: 1 });
    pass(1_000);
    await becomes(() => take(context, ["k", 60]), { kind: "granted" });
    expect(await take(context, ["k", 60])).toMatchObject({ kind: "refused", by: 0 });
  });

  it("take from all buckets or from none, and name the one that refuses", async () => {
    const { context } = get();
    await drain(context, "empty", 2);
    for (let n = 0; n < 10; n++) expect(await take(context, ["full", 3], ["empty", 2])).toMatchObject({ kind: "refused", by: 1 });
    await drain(context, "full", 3);
    expect(await take(context, ["full", 3])).toMatchObject({ kind: "refused", by: 0 });
  });

  it("grant what no rule is about", async () => {
    expect(await take(get().context)).toEqual({ kind: "granted" });
  });

  it("grant, to many who ask at the same time, as many as there are", async () => {
    const { context } = get();
    const verdicts = await Promise.all(Array.from({ length: 50 }, async () => await take(context, ["k", 20])));
    expect(verdicts.filter(({ kind }) => kind === "granted")).toHaveLength(20);
  });
}

function presenceContract(get: Get): void {
  it("counts who is connected, each once, until they have gone", async () => {
    const { presence } = get().context;
    expect(await presence.of("s")).toEqual([]);
    const [first, second] = [presence.connect("s"), presence.connect("s")];
    presence.connect("t");
    expect(await presence.of("s")).toEqual([{ host: "here", connections: 2 }]);
    first();
    first();
    expect(await presence.of("s")).toEqual([{ host: "here", connections: 1 }]);
    second();
    expect(await presence.of("s")).toEqual([]);
    expect(await presence.of("t")).toEqual([{ host: "here", connections: 1 }]);
  });
}
