/**
 * What must be so, by what clients sent and were told, and by nothing else: no table of the
 * store, no code of the host.
 *
 * A client's command is `booked` once it is answered. Commands have effects on other ledgers
 * (credits, told messages, timers); they are `expected` until a report shows them, exactly once.
 * `check` takes the reports of all ledgers at a moment when every client has its answer, and
 * moves the verified mark of each forward; lines below the mark are never looked at again.
 *
 *  M1 a ledger's lines are a chain without a gap, from the verified mark to its head
 *  M2 an acknowledged command is at the position, with the hash, that its reply said
 *  M3 every line is an acknowledged command or an expected effect, and none is there twice
 *  M4 nothing expected is missing (once `settled`), and told messages come in order
 *  M5 sums: each balance is that of its lines, and all balances together are what was added
 *  M6 a sender's numbers were taken up to what it was told, and what was noted last is noted
 */
import { SirsiError } from "../../runtime/core/errors.ts";
import { FIRST_HASH, nextHash } from "./chain.ts";
import type { Report, ReportLine } from "./report.ts";

export interface Violation {
  /** Which promise: lost, doubled, order, rolled-back, … */
  readonly what: string;
  readonly ledger: string;
  readonly expected: string;
  readonly found: string;
}

export interface Effects {
  readonly credits: readonly { readonly ledger: string; readonly number: number; readonly amount: number }[];
  readonly told: { readonly ledger: string; readonly number: number; readonly amount: number } | null;
  readonly timer: { readonly number: number; readonly amount: number } | null;
  /** Below 0: the document is removed. */
  readonly note: { readonly key: string; readonly value: number } | null;
}

export const NO_EFFECTS: Effects = { credits: [], told: null, timer: null, note: null };

/** An answered command that the ledger says it booked. */
export interface Booked extends ReportLine {
  readonly ledger: string;
  readonly effects: Effects;
}

interface Page {
  position: number;
  hash: string;
  balance: number;
  /** Acknowledged since the verified mark, by position. */
  readonly acknowledged: Map<number, Booked>;
  /** Effects on this ledger that no report has shown yet: "sender/number" to what the line must say. */
  readonly expected: Map<string, { readonly kind: string; readonly amount: number }>;
  /** By sender, how many of its numbers must have been taken. */
  readonly taken: Map<string, number>;
  /** By sender, the number that was taken last; timers come in any order. */
  readonly last: Map<string, number>;
  /** By ledger, how many it told. */
  readonly told: Map<string, number>;
  /** By key, the note of the highest position. */
  readonly notes: Map<string, { readonly position: number; readonly value: number }>;
}

export class Model {
  readonly #pages: ReadonlyMap<string, Page>;
  /** Ids of the ledgers, by name: reports name by id whom they told. */
  readonly #ids: ReadonlyMap<string, string>;
  #added = 0;

  constructor(ledgers: readonly { readonly name: string; readonly agentId: string }[]) {
    this.#ids = new Map(ledgers.map(({ name, agentId }) => [name, agentId]));
    this.#pages = new Map(ledgers.map(({ name }) => [name, emptyPage()]));
  }

  /** Where the next report of a ledger is to begin. */
  verified(ledger: string): number {
    return this.#page(ledger).position;
  }

  /** A reply that a client got. */
  booked(command: Booked): Violation[] {
    const page = this.#page(command.ledger);
    const before = page.acknowledged.get(command.position);
    const clash = before !== undefined || command.position <= page.position;
    page.acknowledged.set(command.position, command);
    page.taken.set(command.sender, Math.max(page.taken.get(command.sender) ?? 0, command.sequence));
    if (command.kind === "add") this.#added += command.amount;
    this.#expect(command, page);
    if (!clash) return [];
    const found = before === undefined ? `position ${command.position}, and ${page.position} were verified before` : `two replies that name position ${command.position}: ${show(before)}`;
    return [{ what: "position given twice", ledger: command.ledger, expected: show(command), found }];
  }

  #expect({ ledger, sender, position, effects }: Booked, page: Page): void {
    for (const { ledger: target, number, amount } of effects.credits) this.#await(target, `credit/${sender}`, number, "credit", amount);
    if (effects.told !== null) {
      this.#await(effects.told.ledger, `told/${ledger}`, effects.told.number, "told", effects.told.amount);
      page.told.set(effects.told.ledger, Math.max(page.told.get(effects.told.ledger) ?? 0, effects.told.number));
    }
    if (effects.timer !== null) this.#await(ledger, `timer/${sender}`, effects.timer.number, "fired", effects.timer.amount);
    const { note } = effects;
    if (note !== null && position > (page.notes.get(note.key)?.position ?? 0)) page.notes.set(note.key, { position, value: note.value });
  }

  #await(ledger: string, sender: string, number: number, kind: string, amount: number): void {
    const page = this.#page(ledger);
    page.expected.set(`${sender}/${number}`, { kind, amount });
    page.taken.set(sender, Math.max(page.taken.get(sender) ?? 0, number));
  }

  /** Ledgers whose reports do not show yet all that is expected of them. */
  outstanding(reports: ReadonlyMap<string, Report>): string[] {
    return [...this.#pages].flatMap(([name, page]) => {
      const shown = new Set(reports.get(name)?.lines.map(({ sender, sequence }) => `${sender}/${sequence}`));
      return [...page.expected.keys()].some((key) => !shown.has(key)) ? [name] : [];
    });
  }

  /** What the documents must hold: "ledger key" to the value, null for removed. */
  notes(): ReadonlyMap<string, number | null> {
    return new Map([...this.#pages.values()].flatMap((page) => [...page.notes].map(([key, { value }]) => [key, value < 0 ? null : value] as const)));
  }

  /** Of every ledger, at a moment when every command is answered. */
  check(reports: ReadonlyMap<string, Report>): Violation[] {
    const violations: Violation[] = [];
    for (const [name, page] of this.#pages) {
      const report = reports.get(name);
      if (report === undefined) violations.push({ what: "unreachable", ledger: name, expected: "a report", found: "none" });
      else violations.push(...this.#checkLedger(name, page, report));
    }
    const sum = [...reports.values()].reduce((total, { balance }) => total + balance, 0);
    if (sum !== this.#added) violations.push({ what: "sum", ledger: "all", expected: `balances that come to ${this.#added}`, found: String(sum) });
    return violations;
  }

  #checkLedger(name: string, page: Page, report: Report): Violation[] {
    const violations: Violation[] = report.anomalies.map((anomaly) => ({ what: "anomaly", ledger: name, expected: "none", found: anomaly }));
    const wrong = (what: string, expected: string, found: string) => violations.push({ what, ledger: name, expected, found });
    if (report.position < page.position) {
      wrong("rolled back", `at least position ${page.position}`, `position ${report.position}`);
      return violations;
    }
    let { hash, balance } = page;
    for (const [index, line] of report.lines.entries()) {
      const position = page.position + index + 1;
      hash = nextHash(hash, { ...line, position });
      balance += line.amount;
      if (line.position !== position || line.hash !== hash) {
        wrong("chain", `line ${position} with hash ${hash}`, show(line));
        break;
      }
      this.#account(page, line, wrong);
    }
    if (report.position !== page.position + report.lines.length || report.hash !== hash) wrong("chain", `a head at ${page.position + report.lines.length} with ${hash}`, `${report.position} with ${report.hash}`);
    if (report.balance !== balance) wrong("balance", String(balance), String(report.balance));
    for (const lost of page.acknowledged.values()) wrong("lost", `the acknowledged ${show(lost)}`, "no such line");
    for (const [key, { kind, amount }] of page.expected) wrong("lost", `${kind} ${key} of ${amount}`, "no such line");
    this.#checkSums(page, report, wrong);
    page.acknowledged.clear();
    page.position = report.position;
    page.hash = report.hash;
    page.balance = report.balance;
    return violations;
  }

  #account(page: Page, line: ReportLine, wrong: (what: string, expected: string, found: string) => void): void {
    const key = `${line.sender}/${line.sequence}`;
    const last = page.last.get(line.sender) ?? 0;
    if (line.kind !== "fired" && line.sequence !== last + 1) wrong("order", `${line.sender}/${last + 1}`, show(line));
    page.last.set(line.sender, line.sequence);
    const effect = page.expected.get(key);
    if (effect !== undefined) {
      page.expected.delete(key);
      if (effect.kind !== line.kind || effect.amount !== line.amount) wrong("altered", `${effect.kind} ${key} of ${effect.amount}`, show(line));
      return;
    }
    const command = page.acknowledged.get(line.position);
    if (command === undefined) {
      wrong("doubled", "only lines of acknowledged commands and their effects, once each", show(line));
      return;
    }
    page.acknowledged.delete(line.position);
    if (command.sender !== line.sender || command.sequence !== line.sequence || command.kind !== line.kind || command.amount !== line.amount || command.hash !== line.hash) {
      wrong("order", `the acknowledged ${show(command)}`, show(line));
    }
  }

  #checkSums(page: Page, report: Report, wrong: (what: string, expected: string, found: string) => void): void {
    for (const sender of new Set([...page.taken.keys(), ...Object.keys(report.taken)])) {
      const wanted = page.taken.get(sender) ?? 0;
      const [low = 0, ...above] = report.taken[sender] ?? [];
      if (low !== wanted || above.length > 0) wrong("numbers", `${sender}: 1 to ${wanted}`, `1 to ${low}${above.map((n) => `, ${n}`).join("")}`);
    }
    for (const [target, count] of page.told) {
      const found = report.told[this.#ids.get(target) ?? ""] ?? 0;
      if (found !== count) wrong("told", `${count} messages told to ${target}`, String(found));
    }
    for (const [key, { value }] of page.notes) {
      const found = report.notes[key];
      if ((value < 0 ? undefined : value) !== found) wrong("note", `${key}: ${value < 0 ? "removed" : value}`, String(found));
    }
  }

  #page(ledger: string): Page {
    const page = this.#pages.get(ledger);
    if (page === undefined) throw new SirsiError("INTERNAL", `the model was made without the ledger ${ledger}; correct the harness`);
    return page;
  }
}

function emptyPage(): Page {
  return { position: 0, hash: FIRST_HASH, balance: 0, acknowledged: new Map(), expected: new Map(), taken: new Map(), last: new Map(), told: new Map(), notes: new Map() };
}

function show(line: ReportLine): string {
  return `${line.kind} ${line.sender}/${line.sequence} of ${line.amount} at ${line.position} (${line.hash})`;
}
