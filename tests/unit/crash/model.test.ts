/** The crash tests' model against forged reports: what it must see, and what it must not complain of. */
import { describe, expect, it } from "vitest";
import { FIRST_HASH, nextHash } from "../../crash/chain.ts";
import { type Effects, Model, NO_EFFECTS } from "../../crash/model.ts";
import type { Report, ReportLine } from "../../crash/report.ts";

const LEDGERS = [
  { name: "a0", agentId: "id-0" },
  { name: "a1", agentId: "id-1" },
];

/** A ledger as it should be, that can be made to lie. */
class Forged {
  lines: ReportLine[] = [];
  notes: Record<string, number> = {};
  told: Record<string, number> = {};
  readonly name: string;
  readonly before: readonly ReportLine[];
  readonly #from: number;

  constructor(name: string, before: readonly ReportLine[] = []) {
    this.name = name;
    this.before = before;
    this.#from = before.length;
  }

  take(sender: string, sequence: number, kind: string, amount: number): ReportLine {
    const last = this.lines.at(-1) ?? this.before.at(-1);
    const line = { position: (last?.position ?? 0) + 1, sender, sequence, kind, amount };
    const whole = { ...line, hash: nextHash(last?.hash ?? FIRST_HASH, line) };
    this.lines.push(whole);
    return whole;
  }

  /** All lines anew, with a chain that fits: a host that lost or doubled something would do just that. */
  rewrite(change: (lines: ReportLine[]) => ReportLine[]): void {
    const changed = change(this.lines);
    this.lines = [];
    for (const { sender, sequence, kind, amount } of changed) this.take(sender, sequence, kind, amount);
  }

  report(changes: Partial<Report> = {}): Report {
    const all = [...this.before, ...this.lines];
    const taken: Record<string, number[]> = {};
    for (const { sender, sequence } of all) taken[sender] = [Math.max(taken[sender]?.[0] ?? 0, sequence)];
    const balance = all.reduce((sum, { amount }) => sum + amount, 0);
    return { name: this.name, build: "one", position: this.#from + this.lines.length, hash: all.at(-1)?.hash ?? FIRST_HASH, balance, taken, told: this.told, notes: this.notes, lines: this.lines, anomalies: [], ...changes };
  }
}

/** Two ledgers after a bit of everything, and a model that was told of it. */
function played() {
  const model = new Model(LEDGERS);
  const [a0, a1] = [new Forged("a0"), new Forged("a1")];
  const book = (on: Forged, sender: string, sequence: number, kind: string, amount: number, effects: Partial<Effects> = {}) =>
    expect(model.booked({ ...on.take(sender, sequence, kind, amount), ledger: on.name, effects: { ...NO_EFFECTS, ...effects } })).toEqual([]);
  book(a0, "l1", 1, "add", 100);
  book(a1, "l1", 1, "add", 50);
  book(a0, "l1", 2, "transfer", -30, { credits: [{ ledger: "a1", number: 1, amount: 30 }] });
  a1.take("credit/l1", 1, "credit", 30);
  book(a0, "l2", 1, "tell", -5, { told: { ledger: "a1", number: 1, amount: 5 } });
  book(a0, "l1", 3, "tell", -6, { told: { ledger: "a1", number: 2, amount: 6 } });
  a0.told["id-1"] = 2;
  a1.take("told/a0", 1, "told", 5);
  a1.take("told/a0", 2, "told", 6);
  book(a1, "l2", 1, "remind", -7, { timer: { number: 1, amount: 7 } });
  a1.take("timer/l2", 1, "fired", 7);
  book(a1, "l2", 2, "note", 0, { note: { key: "notes/a1/1", value: 9 } });
  a1.notes["notes/a1/1"] = 9;
  book(a0, "l2", 2, "add", 1);
  const check = (changes: { a0?: Partial<Report>; a1?: Partial<Report> } = {}) => model.check(new Map([["a0", a0.report(changes.a0)], ["a1", a1.report(changes.a1)]])).map(({ what, ledger }) => `${what} ${ledger}`);
  return { model, a0, a1, book, check };
}

describe("the model", () => {
  it("has nothing to say of what went right, and goes on from there", () => {
    const { model, a0, check } = played();
    expect(check()).toEqual([]);
    expect(model.verified("a0")).toBe(a0.lines.length);
    expect([...model.notes()]).toEqual([["notes/a1/1", 9]]);
  });

  it("checks only what came after the last check", () => {
    const { model, a0, a1, check } = played();
    check();
    const later = new Forged("a0", a0.lines);
    later.told = a0.told;
    model.booked({ ...later.take("l1", 4, "add", 4), ledger: "a0", effects: NO_EFFECTS });
    expect(model.check(new Map([["a0", later.report()], ["a1", { ...a1.report(), lines: [] }]]))).toEqual([]);
  });

  it("sees an acknowledged command that was lost", () => {
    const { a0, check } = played();
    a0.rewrite((lines) => lines.slice(0, -1));
    expect(check()).toContain("lost a0");
  });

  it("sees an acknowledged command that was lost from the middle", () => {
    const { a0, check } = played();
    a0.rewrite((lines) => lines.toSpliced(1, 1));
    expect(check()).toContain("lost a0");
  });

  it("sees a command that was done twice", () => {
    const { a1, check } = played();
    a1.rewrite((lines) => [...lines, lines[0]!]);
    expect(check()).toEqual(expect.arrayContaining(["doubled a1", "order a1", "sum all"]));
  });

  it("sees a command that was done and never acknowledged", () => {
    const { a0, check } = played();
    a0.take("l9", 1, "add", 0);
    expect(check()).toContain("doubled a0");
  });

  it("sees an effect that was lost, and one that came twice", () => {
    const { a1, check } = played();
    a1.rewrite((lines) => lines.filter(({ kind }) => kind !== "fired"));
    expect(check()).toContain("lost a1");
    const again = played();
    again.a1.rewrite((lines) => lines.flatMap((line) => (line.kind === "fired" ? [line, line] : [line])));
    expect(again.check()).toContain("doubled a1");
  });

  it("sees told messages, and commands, that changed places", () => {
    const told = played();
    told.a1.rewrite((lines) => {
      const at = lines.findIndex(({ kind }) => kind === "told");
      return lines.toSpliced(at, 2, lines[at + 1]!, lines[at]!);
    });
    expect(told.check()).toContain("order a1");
    const commands = played();
    commands.a0.rewrite((lines) => [lines[1]!, lines[0]!, ...lines.slice(2)]);
    expect(commands.check()).toContain("order a0");
  });

  it("sees an effect of another amount, and a balance that is not that of the lines", () => {
    const { a1, check } = played();
    a1.rewrite((lines) => lines.map((line) => (line.kind === "credit" ? { ...line, amount: 31 } : line)));
    expect(check()).toEqual(expect.arrayContaining(["altered a1", "sum all"]));
    expect(played().check({ a0: { balance: 7 } })).toContain("balance a0");
  });

  it("sees a ledger that went back behind what was verified, and one that says nothing", () => {
    const { model, a0, a1, check } = played();
    check();
    a0.rewrite((lines) => lines.slice(0, 2));
    expect(model.check(new Map([["a0", { ...a0.report(), lines: [] }]])).map(({ what, ledger }) => `${what} ${ledger}`)).toEqual(expect.arrayContaining(["rolled back a0", "unreachable a1"]));
    expect(a1.lines.length).toBeGreaterThan(0);
  });

  it("sees a chain with a hole, or with another hash", () => {
    const hole = played();
    expect(hole.check({ a0: { lines: hole.a0.lines.toSpliced(1, 1) } })).toContain("chain a0");
    const forged = played();
    expect(forged.check({ a0: { lines: forged.a0.lines.map((line) => ({ ...line, hash: FIRST_HASH })) } })).toContain("chain a0");
    expect(played().check({ a1: { hash: FIRST_HASH } })).toContain("chain a1");
  });

  it("sees a note that is gone, a note that stayed, and messages that were not told", () => {
    expect(played().check({ a1: { notes: {} } })).toContain("note a1");
    const { model, a0, a1, book } = played();
    book(a1, "l2", 3, "note", 0, { note: { key: "notes/a1/1", value: -1 } });
    const reports = new Map([["a0", a0.report({ told: {} })], ["a1", a1.report()]]);
    expect(model.check(reports).map(({ what, ledger }) => `${what} ${ledger}`)).toEqual(["told a0", "note a1"]);
  });

  it("passes on what a ledger complains of, and numbers that it left out", () => {
    expect(played().check({ a0: { anomalies: ["l1: 3 after 1"] } })).toContain("anomaly a0");
    expect(played().check({ a1: { taken: { l1: [1] } } })).toContain("numbers a1");
    expect(played().check({ a1: { taken: { ...played().a1.report().taken, l1: [1, 3] } } })).toContain("numbers a1");
  });

  it("sees two replies that name one position", () => {
    const { model, a0 } = played();
    expect(model.booked({ ...a0.lines[0]!, ledger: "a0", sender: "l7", effects: NO_EFFECTS })).toHaveLength(1);
    expect(played().check()).toEqual([]);
  });

  it("tells which ledgers have not shown yet what is expected of them", () => {
    const { model, a0, a1 } = played();
    const early = { ...a1.report(), lines: a1.lines.filter(({ kind }) => kind !== "fired") };
    expect(model.outstanding(new Map([["a0", a0.report()], ["a1", early]]))).toEqual(["a1"]);
    expect(model.outstanding(new Map([["a0", a0.report()], ["a1", a1.report()]]))).toEqual([]);
  });
});
