/**
 * One client: sends a command, again and again under the same message id until it has an
 * answer, and books the answer in the model. One command at a time, so that what it sends to
 * each ledger has an order.
 */
import { setTimeout as pause } from "node:timers/promises";
import { ClientError, type SirsiClient } from "../../runtime/client/index.ts";
import { systemClock } from "../../runtime/core/clock.ts";
import { type Command, type Credit, type Ledger, Numbers, type Standing, bookedBy, drawCommand, readReply, readUnsettled, writeCommand } from "./commands.ts";
import type { Draw } from "./draw.ts";
import type { Gate } from "./gate.ts";
import type { Line } from "./host-line.ts";
import type { Model, Violation } from "./model.ts";
import type { Tally } from "./tally.ts";

/** The host, or the way to it, could not do it now; the message may or may not have been taken. */
const AGAIN = new Set(["", "STORE_UNAVAILABLE", "SHUTTING_DOWN", "SHARD_LOST", "MAILBOX_FULL", "OVERLOADED", "AGENT_FENCED", "DEADLINE_EXCEEDED", "CANCELLED", "BUS_UNAVAILABLE", "BUS_NO_RESPONDERS"]);
/** How a trap, or a loop, may end. */
const FAULTS = new Set(["GUEST_TRAP", "GUEST_FUEL_EXHAUSTED", "DEAD_LETTERED"]);

/** The caller's own time was up: the host need not say when to come again. */
const OWN_TIME = new Set(["", "DEADLINE_EXCEEDED"]);
const REMEMBERED = 12;

export interface LaneSetting {
  readonly name: string;
  readonly sessionId: string;
  readonly ledgers: readonly Ledger[];
  readonly draw: Draw;
  readonly model: Model;
  readonly line: Line;
  readonly callDeadlineMs: number;
  readonly gate: Gate;
  readonly tally: Tally;
  readonly stop: AbortSignal;
  /** Part of every message id. */
  readonly run: string;
  /** Whether a build that traps on purpose may be serving. */
  readonly sick: () => boolean;
  readonly onViolation: (violation: Violation) => void;
}

type Answer =
  | { readonly kind: "reply"; readonly text: string }
  | { readonly kind: "error"; readonly error: ClientError };

interface Remembered {
  readonly ledger: Ledger;
  readonly messageId: string;
  readonly content: string;
  readonly answer: string;
}

export class Lane {
  readonly #set: LaneSetting;
  readonly #numbers = new Numbers();
  readonly #remembered: Remembered[] = [];
  #messages = 0;
  #longestMs = 0;
  /** What it waits for at the moment, for the report of a violation. */
  doing = "";

  constructor(setting: LaneSetting) {
    this.#set = setting;
  }

  /** The longest time from a message's first sending to its answer, since this was asked last. */
  takeLongestMs(): number {
    const longest = this.#longestMs;
    this.#longestMs = 0;
    return longest;
  }

  /** Until `stop`. Never rejects. */
  async run(): Promise<void> {
    const { gate, stop, draw, tally } = this.#set;
    while (!stop.aborted) {
      this.doing = "";
      await gate.pass();
      try {
        if (draw.chance(0.04)) await this.#repeat();
        else if (draw.chance(0.03)) await this.#look();
        else await this.#command();
        await pause(draw.scaled(1, 24), undefined, { signal: stop });
      } catch (thrown) {
        if (!stop.aborted) this.#violated("harness", "a lane that runs", thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown));
        tally.count("lanes ended");
      }
    }
  }

  async #command(): Promise<void> {
    const { draw, ledgers } = this.#set;
    const at = draw.whole(0, ledgers.length - 1);
    const ledger = ledgers[at] as Ledger;
    const command = drawCommand(draw, at, ledgers, this.#numbers);
    if (command.kind === "trap" || command.kind === "loop") await this.#fault(ledger, command);
    else await this.#book(ledger, command);
  }

  /** Nothing of it may remain: the ledger's log would show it. */
  async #fault(ledger: Ledger, command: Command): Promise<void> {
    const { answer } = await this.#send(ledger, this.#write(command, 0));
    if (answer.kind === "error" && FAULTS.has(answer.error.reason)) this.#set.tally.count(`answers ${answer.error.reason}`);
    else this.#violated("fault", `${command.kind} to end in one of ${[...FAULTS].join(", ")}`, show(answer), ledger);
  }

  /** Until the ledger has booked it; `command` keeps its numbers whatever happens to a message that carries it. */
  async #book(ledger: Ledger, command: Command): Promise<void> {
    const sequence = this.#numbers.next(`to/${ledger.name}`);
    const content = this.#write(command, sequence);
    for (;;) {
      const { answer, messageId } = await this.#send(ledger, content);
      const standing = this.#standing(answer);
      if (standing !== null) {
        this.#remember({ ledger, messageId, content, answer: show(answer) });
        this.#set.tally.count(`booked ${command.kind}`);
        for (const violation of this.#set.model.booked(bookedBy(command, this.#set.name, ledger.name, sequence, standing))) this.#set.onViolation(violation);
        if (standing.settled !== null) await this.#settle(ledger, command, standing.settled);
        return;
      }
      if (!this.#refused(answer)) {
        this.#violated("answer", `${content} to be booked`, show(answer), ledger);
        return;
      }
      this.#set.tally.count("refused without effect");
      await pause(50, undefined, { signal: this.#set.stop });
    }
  }

  #standing(answer: Answer): Standing | null {
    if (answer.kind === "reply") return readReply(answer.text);
    return answer.error.metadata["guest_code"] === "unsettled" ? readUnsettled(answer.error.message) : null;
  }

  /** An answer that says: nothing happened, and this message id is used up. */
  #refused({ kind, ...rest }: Answer): boolean {
    if (kind === "reply" || !("error" in rest)) return false;
    const { error } = rest;
    if (error.metadata["guest_code"] === "unread") return true;
    return (error.reason === "GUEST_TRAP" && error.message.includes("this build is sick")) || (error.reason === "DEAD_LETTERED" && this.#set.sick());
  }

  /** Of the question that failed nobody knows whether it was booked; it is asked again as one that may be. Those after it were never asked. */
  async #settle(ledger: Ledger, command: Command, settled: number): Promise<void> {
    if (command.kind !== "transfer" && command.kind !== "chain") return;
    const to: readonly Credit[] = command.kind === "transfer" ? [command.to] : command.to;
    for (const { ledger: target } of to.slice(settled + 1)) this.#numbers.giveBack(`credit/${target}`);
    const open = to[settled];
    this.#set.tally.count("unsettled questions");
    await pause(50, undefined, { signal: this.#set.stop });
    if (open !== undefined) await this.#book(ledger, { kind: "transfer", amount: command.amount, to: open, how: "again" });
  }

  /** A message that was answered before: the same answer, or that it is forgotten, and no second effect. */
  async #repeat(): Promise<void> {
    const { draw, tally } = this.#set;
    if (this.#remembered.length === 0) return;
    const old = draw.one(this.#remembered);
    const { answer } = await this.#send(old.ledger, old.content, old.messageId);
    if (answer.kind === "error" && answer.error.reason === "REPLY_FORGOTTEN") tally.count("repeats forgotten");
    else if (show(answer) === old.answer) tally.count("repeats answered the same");
    else this.#violated("repeat", old.answer, show(answer), old.ledger);
  }

  /** Reads are to be answered, or refused with a reason that says to come again. */
  async #look(): Promise<void> {
    const { callDeadlineMs: deadlineMs, draw, line, ledgers, sessionId, stop, tally } = this.#set;
    const place = { sessionId, agentId: draw.one(ledgers).agentId };
    const call = draw.one(["getAgentStatus", "listMessages", "getAgent"] as const);
    this.doing = call;
    const client = await line.client();
    try {
      await client.agents[call](place, { deadlineMs, signal: stop, retries: 0 });
      tally.count("reads answered");
    } catch (thrown) {
      const error = ClientError.from(thrown);
      this.#refusedBy(client, error);
      if (!AGAIN.has(error.reason)) this.#violated("read", `${call} to be answered`, show({ kind: "error", error }));
      else if (error.reason !== "") tally.count(`reads refused ${error.reason}`);
    }
  }

  #remember(entry: Remembered): void {
    this.#remembered.push(entry);
    if (this.#remembered.length > REMEMBERED) this.#remembered.shift();
  }

  async #send(ledger: Ledger, content: string, messageId = `${this.#set.run}-${this.#set.name}-${++this.#messages}`): Promise<{ readonly answer: Answer; readonly messageId: string }> {
    const { callDeadlineMs: deadlineMs, line, sessionId, stop, tally } = this.#set;
    const began = systemClock.monotonic();
    for (let attempt = 0; ; attempt++) {
      this.doing = `${content} to ${ledger.name} as ${messageId}, attempt ${attempt + 1}`;
      stop.throwIfAborted();
      const client = await line.client();
      try {
        const { response } = await client.agents.sendMessage({ sessionId, agentId: ledger.agentId, message: { messageId, content } }, { deadlineMs, signal: stop, retries: 0 });
        this.#answered(began);
        return { messageId, answer: { kind: "reply", text: response?.content ?? "" } };
      } catch (thrown) {
        const error = ClientError.from(thrown);
        if (!AGAIN.has(error.reason)) {
          this.#answered(began);
          return { messageId, answer: { kind: "error", error } };
        }
        this.#refusedBy(client, error);
        this.doing += `, after ${error.reason} ${error.message}`;
        tally.count("messages sent again");
        await pause(Math.min(200, 5 * 2 ** Math.min(attempt, 6)), undefined, { signal: stop });
      }
    }
  }

  #answered(began: number): void {
    this.#longestMs = Math.max(this.#longestMs, systemClock.monotonic() - began);
    this.#set.tally.count("messages answered");
  }

  #refusedBy(client: SirsiClient, { reason, retryAfterMs, rpcName }: ClientError): void {
    const { line, stop, tally } = this.#set;
    if (stop.aborted) return;
    tally.count(`refusals ${reason === "" ? `no answer (${rpcName})` : reason}`);
    if (OWN_TIME.has(reason)) line.avoid(client);
    else if (retryAfterMs === null) tally.count(`refusals without a delay ${reason}`);
  }

  #write(command: Command, sequence: number): string {
    return writeCommand(command, this.#set.name, sequence, (name) => this.#set.ledgers.find((ledger) => ledger.name === name)?.agentId ?? "");
  }

  #violated(what: string, expected: string, found: string, ledger?: Ledger): void {
    this.#set.onViolation({ what, ledger: ledger?.name ?? this.#set.name, expected, found });
  }
}

function show(answer: Answer): string {
  return answer.kind === "reply" ? answer.text : `${answer.error.reason}: ${answer.error.message}`;
}
