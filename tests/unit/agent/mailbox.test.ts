import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Mailbox, type Rank } from "../../../runtime/agent/mailbox.ts";
import { rankOf } from "../../../runtime/agent/work.ts";

const STARVE_AFTER = 16;
const rank = fc.constantFrom<Rank>(0, 1, 2, 3);

/** The mailbox as a plain list: slow, and easy to believe. */
class NaiveMailbox {
  #waiting: { item: number; rank: Rank }[] = [];
  readonly #passedOver = [0, 0, 0, 0];

  push(item: number, at: Rank): void {
    this.#waiting.push({ item, rank: at });
  }

  take(): number | undefined {
    const ranks = [3, 2, 1, 0].filter((each) => this.#waiting.some((entry) => entry.rank === each));
    const chosen = ranks.find((each) => (this.#passedOver[each] ?? 0) >= STARVE_AFTER) ?? ranks[0];
    if (chosen === undefined) return undefined;
    for (const each of ranks) if (each < chosen) this.#passedOver[each] = (this.#passedOver[each] ?? 0) + 1;
    this.#passedOver[chosen] = 0;
    const at = this.#waiting.findIndex((entry) => entry.rank === chosen);
    return this.#waiting.splice(at, 1)[0]?.item;
  }

  removeEven(): number[] {
    const removed = this.#waiting.filter(({ item }) => item % 2 === 0);
    this.#waiting = this.#waiting.filter(({ item }) => item % 2 === 1);
    return removed.map(({ item }) => item);
  }
}

describe("a mailbox", () => {
  test("does what a plain list would, whatever comes and goes", () => {
    const action = fc.oneof(
      { weight: 10, arbitrary: fc.record({ push: rank }) },
      { weight: 8, arbitrary: fc.constant("take" as const) },
      { weight: 1, arbitrary: fc.constant("remove" as const) },
    );
    fc.assert(
      fc.property(fc.array(action, { maxLength: 400, size: "max" }), (actions) => {
        const mailbox = new Mailbox<number>(1_000);
        const naive = new NaiveMailbox();
        let next = 0;
        for (const each of actions) {
          if (each === "take") expect(mailbox.take()).toBe(naive.take());
          else if (each === "remove") expect(new Set(mailbox.remove((item) => item % 2 === 0))).toEqual(new Set(naive.removeEven()));
          else {
            expect(mailbox.push(next, each.push)).toBe(true);
            naive.push(next++, each.push);
          }
        }
        for (let left = mailbox.size; left > 0; left--) expect(mailbox.take()).toBe(naive.take());
        expect(mailbox.take()).toBeUndefined();
      }),
      { numRuns: 100 },
    );
  });

  test("keeps the order within a priority, over hundreds of messages", () => {
    const mailbox = new Mailbox<number>(1_000);
    const taken: (number | undefined)[] = [];
    for (let i = 0; i < 300; i++) mailbox.push(i, 1);
    for (let i = 0; i < 200; i++) taken.push(mailbox.take());
    for (let i = 300; i < 500; i++) mailbox.push(i, 1);
    while (mailbox.size > 0) taken.push(mailbox.take());
    expect(taken).toEqual(Array.from({ length: 500 }, (_, i) => i));
  });

  test("gives the higher priority first", () => {
    const mailbox = new Mailbox<string>(10);
    mailbox.push("low", 0);
    mailbox.push("normal", 1);
    mailbox.push("critical", 3);
    mailbox.push("high", 2);
    expect([mailbox.take(), mailbox.take(), mailbox.take(), mailbox.take()]).toEqual(["critical", "high", "normal", "low"]);
  });

  test("lets no message wait behind more than a bounded number of later, higher ones", () => {
    fc.assert(
      fc.property(fc.array(fc.array(fc.constantFrom<Rank>(1, 2, 3), { minLength: 1, maxLength: 2 }), { minLength: 60, maxLength: 60 }), (arrivals) => {
        const mailbox = new Mailbox<number>(10_000);
        mailbox.push(-1, 0);
        let passed = 0;
        for (const ranks of arrivals) {
          for (const each of ranks) mailbox.push(1, each);
          if (mailbox.take() === -1) break;
          passed++;
        }
        // Every other starving priority may go once before it.
        expect(passed).toBeLessThanOrEqual(STARVE_AFTER + 2);
      }),
    );
  });

  test("takes no more than it holds, and again as soon as there is room", () => {
    const mailbox = new Mailbox<number>(2);
    expect([mailbox.push(1, 0), mailbox.push(2, 3), mailbox.push(3, 3)]).toEqual([true, true, false]);
    expect(mailbox.full).toBe(true);
    expect(mailbox.take()).toBe(2);
    expect(mailbox.full).toBe(false);
    expect(mailbox.push(4, 1)).toBe(true);
    expect(mailbox.remove(() => true)).toEqual([1, 4]);
    expect(mailbox.size).toBe(0);
    expect(mailbox.take()).toBeUndefined();
  });
});

test("a message without a priority, or with one that no client should know, is a normal one", () => {
  expect([0, 1, 2, 3, 4, 99, -1].map(rankOf)).toEqual([1, 0, 1, 2, 3, 1, 1]);
});
