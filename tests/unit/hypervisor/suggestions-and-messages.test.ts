import { create, toBinary } from "@bufbuild/protobuf";
import { beforeEach, describe, expect, it } from "vitest";
import { ExchangeSchema, GetSuggestionsRequestSchema, ListMessagesRequestSchema, SuggestionSchema } from "../../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { isId, newId } from "../../../runtime/core/ids.ts";
import type { Manifest } from "../../../runtime/module/revision.ts";
import type { SharedContext } from "../../../runtime/session/context/index.ts";
import { openMemoryContext } from "../../../runtime/session/context/memory/index.ts";
import { call, codeOf, refusal, serviceBench, wrongFields } from "../../support/service-bench.ts";
import type { Fields, ServiceBench } from "../../support/service-bench.ts";

let bench: ServiceBench;
let ids: { sessionId: string; agentId: string };

async function open(messageMaxBytes?: number) {
  bench = await serviceBench(messageMaxBytes === undefined ? {} : { limits: { messageMaxBytes } });
  const { sessionId } = bench.session;
  ids = { sessionId, agentId: bench.agents.put(bench.echo, { sessionId }, { state: "READY" }).record.agentId };
}

beforeEach(() => open());

describe("GetSuggestions", () => {
  const suggest = (changes: Fields<typeof GetSuggestionsRequestSchema> = {}, deadline: number | null = null) =>
    bench.service.getSuggestions(create(GetSuggestionsRequestSchema, { ...ids, ...changes }), call({ deadline }));

  it("asks the agent in the context that was given, and names what it was asked in", async () => {
    bench.agents.suggestions = [create(SuggestionSchema, { action: { actionType: "run", command: "go" } })];
    const first = await suggest({ context: { contextType: "cost", contextData: { a: "1" }, tags: ["x"] }, maxSuggestions: 3 }, 500);
    expect(isId(first.contextId)).toBe(true);
    expect(first.suggestions.map(({ suggestionId }) => suggestionId)).toEqual([`${first.contextId}/1`]);
    expect(bench.agents.suggestCalls).toMatchObject([{ context: { contextType: "cost", contextData: { a: "1" }, tags: ["x"] }, max: 3, deadline: 500 }]);
    expect((await suggest()).contextId).not.toBe(first.contextId);
  });

  it("asks for ten when no number is said, and never gives more than were asked for", async () => {
    bench.agents.suggestions = Array.from({ length: 30 }, () => create(SuggestionSchema, { action: { actionType: "run", command: "go" } }));
    expect((await suggest()).suggestions).toHaveLength(10);
    expect((await suggest({ maxSuggestions: 2 })).suggestions).toHaveLength(2);
    expect(bench.agents.suggestCalls.map(({ max }) => max)).toEqual([10, 2]);
  });

  it("gives the agent as long as its config says, unless the caller waits for less", async () => {
    bench.agents.change(ids.agentId, { config: { ...bench.agents.find(ids.agentId)!.record.config, timeoutSeconds: 2 } });
    await suggest();
    await suggest({}, 500);
    expect(bench.agents.suggestCalls.map(({ deadline }) => deadline)).toEqual([2_000, 500]);
  });

  it("names every wrong field", async () => {
    const many = Array.from({ length: 300 }, (_, n) => `k${n}`);
    const error = await refusal(
      suggest({ sessionId: "", agentId: "", maxSuggestions: 101, context: { contextType: "x".repeat(300), contextData: Object.fromEntries(many.map((key) => [key, ""])), tags: many } }),
    );
    expect(wrongFields(error)).toEqual(["agent_id", "context.context_data", "context.context_type", "context.tags", "max_suggestions", "session_id"]);
    expect(await codeOf(suggest({ maxSuggestions: -1 }))).toBe("INVALID_ARGUMENT");
  });

  it("refuses what there is not and what has expired", async () => {
    expect(await codeOf(suggest({ sessionId: newId(1) }))).toBe("SESSION_NOT_FOUND");
    expect(await codeOf(suggest({ agentId: newId(1) }))).toBe("AGENT_NOT_FOUND");
    bench.clock.advance(3_600_000);
    expect(await codeOf(suggest())).toBe("SESSION_EXPIRED");
  });
});

describe("ListMessages", () => {
  const list = (changes: Fields<typeof ListMessagesRequestSchema> = {}) => bench.service.listMessages(create(ListMessagesRequestSchema, { ...ids, ...changes }), call());
  const record = (count: number, content = "") => {
    bench.agents.recorded = Array.from({ length: count }, (_, n) => ({ sequence: n + 1, body: toBinary(ExchangeSchema, create(ExchangeSchema, { message: { messageId: `m${n + 1}`, content } })) }));
  };

  it("shows the conversation newest first, and pages on though it grows", async () => {
    record(5);
    const first = await list({ pageSize: 2 });
    expect(first.exchanges.map(({ sequence, message }) => [sequence, message?.messageId])).toEqual([[5n, "m5"], [4n, "m4"]]);
    record(7);
    const second = await list({ pageSize: 2, pageToken: first.nextPageToken });
    const third = await list({ pageSize: 2, pageToken: second.nextPageToken });
    expect([...second.exchanges, ...third.exchanges].map(({ sequence }) => sequence)).toEqual([3n, 2n, 1n]);
    expect(third.nextPageToken).toBe("");
  });

  it("shows fifty when no number is said, and none of a silent agent", async () => {
    expect(await list()).toMatchObject({ exchanges: [], nextPageToken: "" });
    record(60);
    expect((await list()).exchanges).toHaveLength(50);
  });

  describe("with what hosts know together", () => {
    const context = () => openMemoryContext({ clock: bench.clock, hostName: "", ttlMs: 60_000, exchangesKept: 4 });
    let shared: SharedContext;
    const open = async (newestExchange: number, changes: Partial<Manifest> = {}) => {
      shared = context();
      bench = await serviceBench({ conversations: shared.conversations });
      const { sessionId } = bench.session;
      ids = { sessionId, agentId: bench.agents.put({ ...bench.echo, ...changes }, { sessionId }, { state: "READY" }).record.agentId };
      bench.agents.views.set(ids.agentId, { ...bench.agents.views.get(ids.agentId)!, newestExchange });
      record(newestExchange, "stored");
    };
    const know = (...sequences: readonly number[]) => {
      for (const sequence of sequences) shared.conversations.add(ids.agentId, { sequence, body: toBinary(ExchangeSchema, create(ExchangeSchema, { message: { messageId: `m${sequence}`, content: "shared" } })) });
    };
    const shown = async (changes: Fields<typeof ListMessagesRequestSchema> = {}) => (await list(changes)).exchanges.map(({ sequence, message }) => [Number(sequence), message?.content]);

    it("takes the first page from there when it is as new as the store, and goes on in the store", async () => {
      await open(9);
      know(6, 7, 8, 9);
      const first = await list({ pageSize: 2 });
      expect(first.exchanges.map(({ sequence, message }) => [Number(sequence), message?.content])).toEqual([[9, "shared"], [8, "shared"]]);
      expect(await shown({ pageSize: 2, pageToken: first.nextPageToken })).toEqual([[7, "stored"], [6, "stored"]]);
    });

    it("takes all of a short conversation from there", async () => {
      await open(2);
      know(1, 2);
      expect(await shown()).toEqual([[2, "shared"], [1, "shared"]]);
    });

    it.each([
      ["is behind the store", 9, [6, 7, 8], {}],
      ["is ahead of what the store had", 9, [7, 8, 9, 10], {}],
      ["has less than was asked for", 9, [8, 9], {}],
      ["knows nothing", 9, [], {}],
      ["may be of an earlier life of an agent that is in memory alone", 3, [1, 2, 3], { durability: "none" as const }],
    ])("asks the store when it %s", async (_why, newest, known, changes) => {
      await open(newest, changes);
      know(...known);
      expect(await shown({ pageSize: 2 })).toEqual([[newest, "stored"], [newest - 1, "stored"]]);
    });

    it("asks the store for an agent in memory, whose newest exchange nobody has looked up", async () => {
      await open(2);
      know(1, 2);
      const { newestExchange: _, ...view } = bench.agents.views.get(ids.agentId)!;
      bench.agents.views.set(ids.agentId, view);
      expect(await shown()).toEqual([[2, "stored"], [1, "stored"]]);
    });
  });

  it("makes a page smaller rather than larger than a response may be", async () => {
    await open(4_096);
    record(5, "x".repeat(1_500));
    const sizes: number[] = [];
    let pageToken = "";
    do {
      const page = await list({ pageToken });
      sizes.push(page.exchanges.length);
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(sizes).toEqual([2, 2, 1]);
    record(2, "x".repeat(5_000));
    expect((await list()).exchanges).toHaveLength(1);
  });

  it("names an exchange that cannot be read", async () => {
    bench.agents.recorded = [{ sequence: 9, body: Uint8Array.of(0xff, 0xff, 0xff) }];
    const error = await refusal(list());
    expect([error.code, error.message.includes("exchange 9")]).toEqual(["STORE_CORRUPT", true]);
  });

  it("refuses wrong fields, foreign tokens and what there is not", async () => {
    record(3);
    expect(wrongFields(await refusal(list({ sessionId: "", agentId: "", pageSize: -1 })))).toEqual(["agent_id", "page_size", "session_id"]);
    const { nextPageToken } = await list({ pageSize: 1 });
    const other = bench.agents.put(bench.echo, { sessionId: ids.sessionId }).record.agentId;
    expect(await codeOf(list({ agentId: other, pageToken: nextPageToken }))).toBe("PAGE_TOKEN_INVALID");
    expect(await codeOf(list({ agentId: newId(1) }))).toBe("AGENT_NOT_FOUND");
    expect(await codeOf(list({ sessionId: newId(1) }))).toBe("SESSION_NOT_FOUND");
  });

  it("still shows the conversation of an expired session", async () => {
    record(1);
    bench.clock.advance(3_600_000);
    expect((await list()).exchanges).toHaveLength(1);
  });
});
