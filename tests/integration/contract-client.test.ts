/** The contract of clients in the field: a client made from it alone, against a real host. */
import { readFileSync } from "node:fs";
import { status } from "@grpc/grpc-js";
import { ScalarType, type DescField } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { AgentService } from "../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { contractClient, loadContract, type ContractClient, type Json } from "../support/contract-client.ts";
import { failureOf } from "../support/grpc-gateway.ts";
import { runHost, type TestHost } from "../support/running-host.ts";

const PLAN = readFileSync(new URL("../fixtures/terraform/aws-plan.json", import.meta.url));
const UNKNOWN_ID = "0190f3c2-6b7e-7c31-8a51-3f0d5f0a9c11";

let host: TestHost;
let client: ContractClient;

beforeAll(async () => {
  host = await runHost({ modules: ["aws", "counter", "echo", "relay"] });
  client = contractClient(host.grpcAddress);
}, 240_000);

afterAll(async () => {
  client[Symbol.dispose]();
  await host[Symbol.asyncDispose]();
});

const call = (method: string, request: Json, deadlineMs?: number) => client.call(method, request, deadlineMs);
const refused = (method: string, request: Json, deadlineMs?: number) => failureOf(call(method, request, deadlineMs));

async function openSession(config: Json = {}): Promise<string> {
  const { session } = await call("CreateSession", { user_id: "ada", config });
  return session.session_id as string;
}

async function spawn(session_id: string, agent_type: string, more: Json = {}): Promise<{ readonly session_id: string; readonly agent_id: string }> {
  const { agent } = await call("CreateAgent", { session_id, agent_type, ...more });
  return { session_id, agent_id: agent.agent_id as string };
}

const say = (place: Json, content: string, more: Json = {}) => call("SendMessage", { ...place, message: { content, ...more } });

describe("the contract", () => {
  const loaded = loadContract() as unknown as Record<string, { readonly type?: { readonly name: string; readonly field?: readonly Json[]; readonly value?: readonly Json[] } }>;
  const mine = Object.entries(loaded).filter(([name, { type }]) => name.startsWith("sirsi.agent.v1.") && type !== undefined);
  const messages = mine.filter(([, { type }]) => type?.field !== undefined);
  const enums = mine.filter(([, { type }]) => type?.value !== undefined);

  const kindOf = (field: DescField): string => {
    if (field.fieldKind === "map") return "repeated TYPE_MESSAGE";
    const kind = field.fieldKind === "list" ? field.listKind : field.fieldKind;
    const type = kind === "scalar" ? ScalarType[field.scalar as ScalarType] : kind.toUpperCase();
    return `${field.fieldKind === "list" ? "repeated" : "optional"} TYPE_${type}`;
  };

  it.each(messages)("%s has its names, numbers and types in what the host speaks", (_name, { type }) => {
    const desc = AgentService.file.messages.find(({ name }) => name === type?.name);
    const spoken = desc?.fields.map((field) => [field.name, field.number, kindOf(field)]);
    const fixed = type?.field?.map(({ name, number, label, type: kind }) => [name, number, `${String(label).replace("LABEL_", "").toLowerCase()} ${kind}`]);
    expect(spoken?.filter(([, number]) => Number(number) < 20)).toEqual(fixed);
  });

  it.each(enums)("%s has its names and numbers in what the host speaks", (_name, { type }) => {
    const desc = AgentService.file.enums.find(({ name }) => name === type?.name);
    expect(desc?.values.map(({ name, number }) => [name, number])).toEqual(type?.value?.map(({ name, number }) => [name, number]));
  });

  it("lists what this test calls: twelve RPCs", () => {
    expect(Object.keys(loaded["sirsi.agent.v1.AgentService"] ?? {})).toHaveLength(12);
    expect([messages.length, enums.length]).toEqual([41, 6]);
  });
});

describe("CreateSession and GetSession", () => {
  it("open a session with its lifetime, its config and the agent types there are", async () => {
    const config = { max_agents: 3, timeout_seconds: 600, enable_logging: true, preferences: { tone: "short" } };
    const { session, available_agent_types } = await call("CreateSession", { user_id: "ada", context: { team: "infra" }, config });
    expect(session).toMatchObject({ user_id: "ada", state: "SESSION_STATE_ACTIVE", metadata: { team: "infra" }, config });
    expect(Number(session.expires_at.seconds) - Number(session.created_at.seconds)).toBe(600);
    expect((available_agent_types as Json[]).map(({ type_id }) => type_id as string)).toEqual(expect.arrayContaining(["aws", "counter", "echo", "relay"]));
    const counter = (available_agent_types as Json[]).find(({ type_id }) => type_id === "counter");
    expect(counter).toMatchObject({ display_name: "Counter", version: expect.stringMatching(/^\d/) as string, capabilities: [{ capability_id: "count" }] });

    const read = await call("GetSession", { session_id: session.session_id });
    expect(read).toMatchObject({ session: { session_id: session.session_id, state: "SESSION_STATE_ACTIVE" }, active_agents: [] });
    const { agent_id } = await spawn(session.session_id as string, "echo");
    expect((await call("GetSession", { session_id: session.session_id })).active_agents).toMatchObject([{ agent_id, agent_type: "echo" }]);
  });

  it("refuse a wrong field by its name, and a session that is not there by its id", async () => {
    expect(await refused("CreateSession", { user_id: "" })).toMatchObject({ code: status.INVALID_ARGUMENT, reason: "INVALID_ARGUMENT", fields: ["user_id"] });
    expect(await refused("GetSession", { session_id: "no id" })).toMatchObject({ code: status.INVALID_ARGUMENT, fields: ["session_id"] });
    expect(await refused("GetSession", { session_id: UNKNOWN_ID })).toMatchObject({ code: status.NOT_FOUND, reason: "SESSION_NOT_FOUND", text: expect.stringContaining(UNKNOWN_ID) as string });
  });
});

describe("CreateAgent", () => {
  it("spawns by name and by name@version, with config, context and capabilities", async () => {
    const session_id = await openSession();
    const made = await call("CreateAgent", { session_id, agent_type: "counter", config: { parameters: { start: "40" }, timeout_seconds: 7 }, context: { locale: "de" } });
    expect(made).toMatchObject({ agent: { session_id, agent_type: "counter", state: "AGENT_STATE_READY", config: { parameters: { start: "40" }, timeout_seconds: 7 } }, capabilities: [{ capability_id: "count", parameters: [{ name: "command", required: true }] }] });
    expect((await say({ session_id, agent_id: made.agent.agent_id }, "add 2")).response.content).toBe("42");
    const { version } = ((await call("CreateSession", { user_id: "ada" })).available_agent_types as Json[]).find(({ type_id }) => type_id === "counter") as Json;
    expect(await spawn(session_id, `counter@${version}`)).toMatchObject({ session_id });
  });

  it("refuses a type and a version that there are not, and one agent too many", async () => {
    const session_id = await openSession({ max_agents: 1 });
    expect(await refused("CreateAgent", { session_id, agent_type: "conter" })).toMatchObject({ code: status.NOT_FOUND, reason: "AGENT_TYPE_NOT_FOUND", text: expect.stringContaining("counter") as string });
    expect(await refused("CreateAgent", { session_id, agent_type: "counter@99.0.0" })).toMatchObject({ code: status.NOT_FOUND, reason: "AGENT_TYPE_NOT_FOUND" });
    expect(await refused("CreateAgent", { session_id, agent_type: "" })).toMatchObject({ code: status.INVALID_ARGUMENT, fields: ["agent_type"] });
    expect(await refused("CreateAgent", { session_id, agent_type: "counter", config: { parameters: { start: "many" } } })).toMatchObject({ code: status.INVALID_ARGUMENT, reason: "GUEST_ERROR" });
    await spawn(session_id, "echo");
    expect(await refused("CreateAgent", { session_id, agent_type: "echo" })).toMatchObject({ code: status.RESOURCE_EXHAUSTED, reason: "AGENT_LIMIT_REACHED" });
  });
});

describe("GetAgent, ListAgents and UpdateAgent", () => {
  it("read one agent with its metrics", async () => {
    const place = await spawn(await openSession(), "counter");
    await say(place, "increment");
    await expect(say(place, "dance")).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
    const { agent, metrics } = await call("GetAgent", place);
    expect(agent).toMatchObject({ ...place, agent_type: "counter", state: "AGENT_STATE_READY", parent_agent_id: "" });
    expect(metrics).toMatchObject({ messages_processed: "2", operations_completed: "2", errors_encountered: "1" });
    expect(metrics.average_response_time_ms).toBeGreaterThan(0);
    expect(await refused("GetAgent", { ...place, agent_id: UNKNOWN_ID })).toMatchObject({ code: status.NOT_FOUND, reason: "AGENT_NOT_FOUND", facts: { agent_id: UNKNOWN_ID } });
    expect(await refused("GetAgent", { ...place, session_id: await openSession() })).toMatchObject({ reason: "AGENT_NOT_FOUND" });
  });

  it("list a session's agents by filter, in pages that agents may come and go under", async () => {
    const session_id = await openSession();
    const ids: string[] = [];
    for (const type of ["echo", "counter", "echo", "counter", "echo"]) ids.push((await spawn(session_id, type)).agent_id);
    const first = await call("ListAgents", { session_id, page_size: 2 });
    expect(first).toMatchObject({ agents: [{ agent_id: ids[0] }, { agent_id: ids[1] }], total_size: 5 });
    await call("DeleteAgent", { session_id, agent_id: ids[1] });
    const rest = await call("ListAgents", { session_id, page_size: 10, page_token: first.next_page_token });
    expect((rest.agents as Json[]).map(({ agent_id }) => agent_id as string)).toEqual(ids.slice(2));
    expect(rest.next_page_token).toBe("");
    const filtered = await call("ListAgents", { session_id, filter: 'agent_type == "echo" && state == "READY"' });
    expect((filtered.agents as Json[]).map(({ agent_id }) => agent_id as string)).toEqual([ids[0], ids[2], ids[4]]);
    expect(await refused("ListAgents", { session_id, filter: "agent_type = 1" })).toMatchObject({ code: status.INVALID_ARGUMENT, reason: "FILTER_INVALID" });
    expect(await refused("ListAgents", { session_id, page_token: "made up" })).toMatchObject({ code: status.INVALID_ARGUMENT, reason: "PAGE_TOKEN_INVALID" });
  });

  it("change what the mask names and nothing else", async () => {
    const place = await spawn(await openSession(), "counter", { config: { timeout_seconds: 5 } });
    const agent = { metadata: { team: "infra" }, config: { timeout_seconds: 9 } };
    const updated = await call("UpdateAgent", { ...place, agent, update_mask: { paths: ["metadata"] } });
    expect(updated.agent).toMatchObject({ metadata: { team: "infra" }, config: { timeout_seconds: 5 } });
    expect((await call("ListAgents", { session_id: place.session_id, filter: 'metadata["team"] == "infra"' })).total_size).toBe(1);
    expect(await refused("UpdateAgent", { ...place, agent, update_mask: { paths: ["state"] } })).toMatchObject({ code: status.INVALID_ARGUMENT, fields: ["update_mask"] });
  });
});

describe("SendMessage", () => {
  it("answers with content, metadata and attachments, and says how long it took", async () => {
    const place = await spawn(await openSession(), "echo");
    const sent = { content: "größer 🌍", metadata: { k: "v" }, attachments: [{ attachment_id: "a-1", name: "a.bin", mime_type: "application/octet-stream", data: Buffer.from([0, 255, 7]) }] };
    const answer = await call("SendMessage", { ...place, message: { type: "MESSAGE_TYPE_QUERY", ...sent }, options: { timeout_seconds: 5, priority: "PRIORITY_HIGH", context: { locale: "de" } } });
    expect(answer.response).toMatchObject({ type: "MESSAGE_TYPE_RESPONSE", content: sent.content, metadata: { k: "v" } });
    expect(answer.response.attachments).toMatchObject([{ attachment_id: "a-1", name: "a.bin", size_bytes: "3", content: "data", data: Buffer.from([0, 255, 7]) }]);
    expect(answer.message_id).not.toBe("");
    expect(answer.metrics.processing_time_ms).toBeGreaterThan(0);
  });

  it("takes effect once under an id that the client chose", async () => {
    const place = await spawn(await openSession(), "counter");
    const first = await say(place, "add 5", { message_id: "order-7" });
    const again = await say(place, "add 5", { message_id: "order-7" });
    expect([first.message_id, again.message_id]).toEqual(["order-7", "order-7"]);
    expect(again.response).toEqual(first.response);
    expect((await say(place, "get")).response.content).toBe("5");
    expect(await refused("SendMessage", { ...place, message: { message_id: "order-7", content: "add 6" } })).toMatchObject({ code: status.ALREADY_EXISTS, reason: "MESSAGE_ID_REUSED" });
  });

  it("tells an agent's own error, a missing message and a passed deadline apart", async () => {
    const session_id = await openSession();
    const counter = await spawn(session_id, "counter");
    expect(await refused("SendMessage", { ...counter, message: { content: "dance" } })).toMatchObject({ code: status.INVALID_ARGUMENT, reason: "GUEST_ERROR", facts: { guest_code: "invalid_argument" }, text: expect.stringContaining("increment, add N, get") as string });
    expect(await refused("SendMessage", counter)).toMatchObject({ code: status.INVALID_ARGUMENT, fields: ["message"] });
    const relay = await spawn(session_id, "relay");
    expect((await refused("SendMessage", { ...relay, message: { content: "sleep 60000" } }, 300)).code).toBe(status.DEADLINE_EXCEEDED);
    expect(await refused("SendMessage", { ...relay, message: { content: "sleep 60000" }, options: { timeout_seconds: 1 } })).toMatchObject({ code: status.DEADLINE_EXCEEDED });
    expect((await say(relay, "sleep 1")).response.content).toBe("slept 1 ms");
  });
});

describe("GetSuggestions", () => {
  it("gives suggestions that clients can act on, as many as asked for", async () => {
    const place = await spawn(await openSession(), "aws");
    const inventory = await call("SendMessage", { ...place, message: { content: "inventory", attachments: [{ name: "plan.json", mime_type: "application/json", data: PLAN }] } });
    expect(inventory.suggestions.length).toBeGreaterThanOrEqual(5);
    const asked = await call("GetSuggestions", { ...place, context: { context_type: "review", tags: [] }, max_suggestions: 4 });
    expect(asked.suggestions).toHaveLength(4);
    expect(asked.context_id).not.toBe("");
    for (const suggestion of [...(inventory.suggestions as Json[]), ...(asked.suggestions as Json[])]) {
      expect(suggestion.confidence).toBeGreaterThanOrEqual(0);
      expect(suggestion.confidence).toBeLessThanOrEqual(1);
      expect([1, 2, 3, 4, 5]).toContain(suggestion.priority);
      expect(suggestion.action.action_type).not.toBe("");
      expect(suggestion.action.command).not.toBe("");
      expect(suggestion).toMatchObject({ suggestion_id: expect.stringMatching(/./) as string, title: expect.stringMatching(/./) as string, type: expect.stringMatching(/^SUGGESTION_TYPE_(?!UNSPECIFIED)/) as string });
    }
    expect(await refused("GetSuggestions", { ...place, max_suggestions: -1 })).toMatchObject({ code: status.INVALID_ARGUMENT, fields: ["max_suggestions"] });
  });
});

describe("GetAgentStatus and GetSystemHealth", () => {
  it("tell how an agent is", async () => {
    const place = await spawn(await openSession(), "counter");
    await say(place, "increment");
    const found = await call("GetAgentStatus", place);
    expect(found).toMatchObject({ status: { state: "AGENT_STATE_READY", active_operations: 0 }, metrics: { messages_processed: "1" }, active_capabilities: [{ capability_id: "count" }], health_status: "healthy" });
    expect(Number(found.status.last_activity.seconds)).toBeGreaterThan(0);
  });

  it("tell how the host is, with figures when asked", async () => {
    const { health, metrics } = await call("GetSystemHealth", { include_metrics: true });
    expect(health.overall_status).toBe("HEALTH_STATUS_HEALTHY");
    expect(Object.values(health.components as Json).map(({ status: one }) => one as string)).toEqual(Object.keys(health.components as Json).map(() => "HEALTH_STATUS_HEALTHY"));
    expect(Object.keys(health.components as Json)).toEqual(expect.arrayContaining(["bus", "modules", "shards", "store"]));
    expect(metrics.total_agents).toBeGreaterThan(0);
    expect(metrics.active_sessions).toBeGreaterThan(0);
    expect((await call("GetSystemHealth", {})).metrics).toBeNull();
  });
});

describe("what clients rely on", () => {
  it("DeleteAgent ends an agent for good", async () => {
    const place = await spawn(await openSession(), "counter");
    expect(await call("DeleteAgent", place)).toEqual({});
    expect(await refused("SendMessage", { ...place, message: { content: "get" } })).toMatchObject({ code: status.FAILED_PRECONDITION, reason: "AGENT_TERMINATED" });
    expect((await call("ListAgents", { session_id: place.session_id })).total_size).toBe(0);
  });

  it("DeleteSession ends its agents", async () => {
    const place = await spawn(await openSession(), "counter");
    expect(await call("DeleteSession", { session_id: place.session_id })).toEqual({});
    expect((await call("GetSession", { session_id: place.session_id })).session.state).toBe("SESSION_STATE_TERMINATED");
    expect((await call("GetAgent", place)).agent.state).toBe("AGENT_STATE_TERMINATED");
    expect(await refused("SendMessage", { ...place, message: { content: "get" } })).toMatchObject({ code: status.FAILED_PRECONDITION, reason: "SESSION_TERMINATED" });
    expect(await refused("CreateAgent", { session_id: place.session_id, agent_type: "echo" })).toMatchObject({ reason: "SESSION_TERMINATED" });
    expect(await call("DeleteSession", { session_id: place.session_id })).toEqual({});
  });

  it("a session that outlives expires_at becomes EXPIRED and refuses work with a clear error", async () => {
    const place = await spawn(await openSession({ timeout_seconds: 1 }), "counter");
    await vi.waitFor(async () => expect((await call("GetSession", { session_id: place.session_id })).session.state).toBe("SESSION_STATE_EXPIRED"), { timeout: 20_000, interval: 20 });
    for (const [method, more] of [
      ["SendMessage", { message: { content: "increment" } }],
      ["CreateAgent", { agent_type: "echo" }],
      ["GetSuggestions", {}],
      ["UpdateAgent", { agent: {}, update_mask: { paths: ["metadata"] } }],
    ] as const) {
      expect([method, await refused(method, { ...place, ...more })]).toMatchObject([method, { code: status.FAILED_PRECONDITION, reason: "SESSION_EXPIRED", text: expect.stringMatching(/expired/) as string }]);
    }
  });
});
