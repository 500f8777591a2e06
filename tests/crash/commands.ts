/** What clients ask of ledgers: drawn from a stream of lots, written as the ledger's words, read from its replies. */
import type { Draw } from "./draw.ts";
import { type Booked, type Effects, NO_EFFECTS } from "./model.ts";

export interface Ledger {
  readonly name: string;
  readonly agentId: string;
}

export interface Credit {
  readonly ledger: string;
  readonly number: number;
}

/** A client's command, before it is sent. */
export type Command =
  | { readonly kind: "add"; readonly amount: number }
  | { readonly kind: "transfer"; readonly amount: number; readonly to: Credit; readonly how: "host" | "own" | "again" }
  | { readonly kind: "chain"; readonly amount: number; readonly pauseMs: number; readonly to: readonly Credit[] }
  | { readonly kind: "tell"; readonly amount: number; readonly ledger: string }
  | { readonly kind: "sleep"; readonly durationMs: number }
  | { readonly kind: "remind"; readonly amount: number; readonly delayMs: number; readonly number: number }
  | { readonly kind: "note"; readonly key: string; readonly value: number }
  | { readonly kind: "trap"; readonly how: "early" | "late" }
  | { readonly kind: "loop" };

/** How often each is drawn. */
const WEIGHTS = { add: 28, transfer: 18, tell: 15, note: 11, remind: 10, sleep: 7, chain: 6, trap: 0.8, loop: 0.2 } as const;

const SHORT_SLEEP_MS = 60;
const LONG_SLEEP_MS = 1_500;
const NOTE_KEYS = 3;

/** Hands out a lane's numbers: of what it sends to each ledger, has credited there and has it remember. */
export class Numbers {
  readonly #last = new Map<string, number>();

  next(series: string): number {
    const number = (this.#last.get(series) ?? 0) + 1;
    this.#last.set(series, number);
    return number;
  }

  /** The newest number was not used after all. */
  giveBack(series: string): void {
    this.#last.set(series, (this.#last.get(series) ?? 1) - 1);
  }
}

/** Ledgers ask only those after them: nobody waits in a circle. */
export function drawCommand(draw: Draw, at: number, ledgers: readonly Ledger[], numbers: Numbers): Command {
  const after = ledgers.slice(at + 1);
  const kind = draw.weighted(WEIGHTS);
  const amount = draw.whole(1, 1_000);
  const credit = (ledger: string): Credit => ({ ledger, number: numbers.next(`credit/${ledger}`) });
  switch (kind) {
    case "transfer":
      return after.length === 0 ? { kind: "add", amount } : { kind, amount, to: credit(draw.one(after).name), how: draw.chance(0.5) ? "host" : "own" };
    case "chain": {
      if (after.length === 0) return { kind: "add", amount };
      const to = Array.from({ length: draw.whole(2, 4) }, () => draw.one(after).name).map(credit);
      return { kind, amount, pauseMs: draw.whole(0, 30), to };
    }
    case "tell":
      return { kind, amount, ledger: draw.one(ledgers).name };
    case "sleep":
      return { kind, durationMs: draw.chance(0.15) ? LONG_SLEEP_MS : draw.whole(0, SHORT_SLEEP_MS) };
    case "remind":
      return { kind, amount, delayMs: draw.scaled(1, 1_500), number: numbers.next(`timer/${ledgers[at]?.name}`) };
    case "note":
      return { kind, key: `notes/${ledgers[at]?.name}/${draw.whole(1, NOTE_KEYS)}`, value: draw.chance(0.2) ? -1 : amount };
    case "trap":
      return { kind, how: draw.chance(0.5) ? "early" : "late" };
    case "loop":
      return { kind };
    case "add":
      return { kind, amount };
  }
}

/** As the ledger reads it; `sequence` is 0 for what books nothing. */
export function writeCommand(command: Command, lane: string, sequence: number, idOf: (ledger: string) => string): string {
  const head = `${command.kind} ${lane} ${sequence}`;
  switch (command.kind) {
    case "add":
      return `${head} ${command.amount}`;
    case "transfer":
      return `${head} ${command.amount} ${idOf(command.to.ledger)} ${command.to.number} ${command.how}`;
    case "chain":
      return `${head} ${command.amount} ${command.pauseMs} ${command.to.map(({ ledger, number }) => `${idOf(ledger)} ${number}`).join(" ")}`;
    case "tell":
      return `${head} ${command.amount} ${idOf(command.ledger)}`;
    case "sleep":
      return `${head} ${command.durationMs}`;
    case "remind":
      return `${head} ${command.amount} ${command.delayMs} ${command.number}`;
    case "note":
      return `${head} ${command.value} ${command.key}`;
    case "trap":
      return `trap ${command.how}`;
    case "loop":
      return "loop";
  }
}

/** What the ledger said: where it booked, and how many of the questions were answered when it was not all of them. */
export interface Standing {
  readonly position: number;
  readonly hash: string;
  /** Null when all went well. */
  readonly settled: number | null;
  /** A tell's number. */
  readonly extra: number;
}

const REPLY = /^(\d+) ([0-9a-f]{16}) -?\d+ ?(\d*)$/;
const UNSETTLED = /^(\d+) ([0-9a-f]{16}) -?\d+ (\d+) /;

export function readReply(text: string): Standing | null {
  const [, position, hash, extra] = REPLY.exec(text) ?? [];
  return hash === undefined ? null : { position: Number(position), hash, settled: null, extra: Number(extra) };
}

export function readUnsettled(text: string): Standing | null {
  const [, position, hash, settled] = UNSETTLED.exec(text) ?? [];
  return hash === undefined ? null : { position: Number(position), hash, settled: Number(settled), extra: 0 };
}

/** An answered command as the model books it. */
export function bookedBy(command: Command, lane: string, ledger: string, sequence: number, standing: Standing): Booked {
  const { position, hash } = standing;
  return { ledger, sender: lane, sequence, kind: command.kind, position, hash, ...bookedAmount(command, standing) };
}

function bookedAmount(command: Command, { settled, extra }: Standing): { readonly amount: number; readonly effects: Effects } {
  switch (command.kind) {
    case "add":
      return { amount: command.amount, effects: NO_EFFECTS };
    case "transfer":
    case "chain": {
      const to = command.kind === "transfer" ? [command.to] : command.to;
      const credits = to.slice(0, settled ?? to.length).map((credit) => ({ ...credit, amount: command.amount }));
      return { amount: -command.amount * credits.length || 0, effects: { ...NO_EFFECTS, credits } };
    }
    case "tell":
      return { amount: -command.amount, effects: { ...NO_EFFECTS, told: { ledger: command.ledger, number: extra, amount: command.amount } } };
    case "remind":
      return { amount: -command.amount, effects: { ...NO_EFFECTS, timer: { number: command.number, amount: command.amount } } };
    case "note":
      return { amount: 0, effects: { ...NO_EFFECTS, note: { key: command.key, value: command.value } } };
    default:
      return { amount: 0, effects: NO_EFFECTS };
  }
}
