import { create, toBinary } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { GuestResultSchema } from "../../../runtime/contract/gen/sirsi/agent/v1/guest_pb.ts";
import { SirsiError } from "../../../runtime/core/errors.ts";
import type { CopyEnd } from "../../../runtime/hypervisor/swap/copy.ts";
import { type AgentFindings, answerOf, sentencesOf, type ToldMessage } from "../../../runtime/hypervisor/swap/findings.ts";

const said = (content: string, needs: Partial<Extract<CopyEnd, { kind: "done" }>> = {}): CopyEnd => ({
  kind: "done",
  result: toBinary(GuestResultSchema, create(GuestResultSchema, { result: { case: "message", value: { response: { content } } } })),
  emits: 0,
  fuelUsed: 1_000,
  memoryBytes: 131_072,
  tookMs: 1,
  ...needs,
});
const told = (content: string, before: CopyEnd, now: CopyEnd): ToldMessage => ({ content, before: answerOf(before), now: answerOf(now) });
const agent = (messages: readonly ToldMessage[], changes: Partial<AgentFindings> = {}): AgentFindings => ({ agentId: "a1", refusal: "", unsaved: "", loadMs: 3.14, messages, ...changes });

describe("a rehearsal's findings in sentences", () => {
  it("say that all is as before", () => {
    expect(sentencesOf([agent([told("total", said("5"), said("5"))])])).toEqual(["1 agent rehearsed, 1 message told again", "load() needed 3.1 ms", "every message was answered as before"]);
  });

  it("tell other answers once for each message, and how many gave them", () => {
    const same = told("balance?", said("5"), said("5"));
    const other = told("balance?", said("5"), said("5 EUR"));
    const sentences = sentencesOf([agent([other]), agent([same]), agent([other], { loadMs: 9 })]);
    expect(sentences).toContain('2 of 3 copies answered message "balance?" differently: before "5", now "5 EUR"');
    expect(sentences).toContain("load() needed 9.0 ms at most");
    expect(sentences).not.toContain("every message was answered as before");
  });

  it("tell a difference far back in a long answer, and cut what they show of it", () => {
    const long = "x".repeat(200);
    const [, , difference = ""] = sentencesOf([agent([told("all", said(`${long}1`), said(`${long}2`))])]);
    expect(difference).toContain('1 of 1 copy answered message "all" differently');
    expect(difference.length).toBeLessThan(300);
  });

  it("tell errors, traps and answers that are none", () => {
    const error: CopyEnd = { ...said(""), kind: "done", result: toBinary(GuestResultSchema, create(GuestResultSchema, { result: { case: "error", value: { code: "too_late", message: "no" } } })) } as CopyEnd;
    const done = { ...said(""), result: Uint8Array.of(0x12, 0) } as CopyEnd;
    const garbage = { ...said(""), result: Uint8Array.of(255, 255) } as CopyEnd;
    const trap: CopyEnd = { kind: "failed", error: new SirsiError("GUEST_TRAP", "divided by zero") };
    const sentences = sentencesOf([agent([told("a", said("1"), error), told("b", done, garbage), told("c", said("1"), trap)])]).join("\n");
    expect(sentences).toContain('before "1", now the error too_late (no)');
    expect(sentences).toMatch(/before something that is no answer to a message \(done\), now something that is no answer \(the guest sent/);
    expect(sentences).toContain("now GUEST_TRAP: divided by zero");
  });

  it("tell of waits, which cannot be told further", () => {
    const sentences = sentencesOf([agent([told("ask him", { kind: "waits" }, { kind: "waits" })])]);
    expect(sentences).toEqual(["1 agent rehearsed, 1 message told again", "load() needed 3.1 ms", 'message "ask him" asks the host for something, so it was told no further']);
  });

  it("tell how emits, fuel and memory change, when that is worth telling", () => {
    const before = said("1", { emits: 1, fuelUsed: 200_000 });
    const sentences = sentencesOf([agent([told("work", before, said("1", { emits: 2, fuelUsed: 900_000, memoryBytes: 196_608 }))])]);
    expect(sentences).toContain('message "work" let 1 message or event go before, and now 2');
    expect(sentences).toContain("fuel for the same messages 200,000 -> 900,000");
    expect(sentences).toContain("memory 128 KB -> 192 KB");
    expect(sentencesOf([agent([told("work", said("1"), said("1", { fuelUsed: 9_000 }))])]).join()).not.toContain("fuel");
  });

  it("tell whom they could not try, what is refused, and no more than a person reads", () => {
    const sentences = sentencesOf([agent([], { unsaved: "save() failed", loadMs: null }), agent([], { refusal: "load() trapped", loadMs: null })]);
    expect(sentences).toEqual(["1 agent rehearsed, 0 messages told again", "agent a1 could not be tried: save() failed", "load() trapped"]);
    const many = sentencesOf([agent(Array.from({ length: 50 }, (_, at) => told(`m${at}`, said("1"), said("2"))))]);
    expect([many.length, many.at(-1)]).toEqual([20, "and 33 findings more"]);
  });
});
