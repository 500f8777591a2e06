import { create } from "@bufbuild/protobuf";
import { beforeEach, describe, expect, it } from "vitest";
import { AgentState, CreateAgentRequestSchema, DeleteAgentRequestSchema, GetAgentRequestSchema, GetAgentStatusRequestSchema, ListAgentsRequestSchema } from "../../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { Deferred } from "../../../runtime/core/deferred.ts";
import { SirsiError } from "../../../runtime/core/errors.ts";
import { newId } from "../../../runtime/core/ids.ts";
import { manifest } from "../../support/fake-agents.ts";
import { call, codeOf, refusal, serviceBench, wrongFields } from "../../support/service-bench.ts";
import type { Fields, ServiceBench } from "../../support/service-bench.ts";

let bench: ServiceBench;
let sessionId: string;
beforeEach(async () => {
  bench = await serviceBench({ maxAgents: 3 });
  sessionId = bench.session.sessionId;
});

const createAgent = (init: Fields<typeof CreateAgentRequestSchema>) => bench.service.createAgent(create(CreateAgentRequestSchema, { sessionId, agentType: "echo", ...init }), call());
const listAgents = (init: Fields<typeof ListAgentsRequestSchema> = {}) => bench.service.listAgents(create(ListAgentsRequestSchema, { sessionId, ...init }), call());
const getAgent = (agentId: string) => bench.service.getAgent(create(GetAgentRequestSchema, { sessionId, agentId }), call());
const deleteAgent = (agentId: string) => bench.service.deleteAgent(create(DeleteAgentRequestSchema, { sessionId, agentId }), call());
const getStatus = (agentId: string) => bench.service.getAgentStatus(create(GetAgentStatusRequestSchema, { sessionId, agentId }), call());

const TOO_MANY = Object.fromEntries(Array.from({ length: 300 }, (_, n) => [`k${n}`, ""]));

describe("CreateAgent", () => {
  it("answers with the agent and what its module offers", async () => {
    const parent = (await createAgent({})).agent!.agentId;
    const { agent, capabilities } = await createAgent({
      agentType: "aws@1.0.0",
      config: { parameters: { region: "eu" }, timeoutSeconds: 9, maxConcurrentOperations: 2, enableCaching: true, requiredCapabilities: ["aws.do"] },
      context: { ticket: "7" },
      metadata: { team: "infra" },
      parentAgentId: parent,
    });
    expect(agent).toMatchObject({
      sessionId,
      agentType: "aws",
      state: AgentState.READY,
      config: { parameters: { region: "eu" }, timeoutSeconds: 9, maxConcurrentOperations: 2, enableCaching: true, requiredCapabilities: ["aws.do"] },
      metadata: { team: "infra" },
      parentAgentId: parent,
      moduleVersion: "1.0.0",
    });
    expect(capabilities.map(({ capabilityId }) => capabilityId)).toEqual(["aws.do"]);
    expect(bench.agents.find(agent!.agentId)!.record.context).toEqual({ ticket: "7" });
  });

  it("names every wrong field at once", async () => {
    const error = await refusal(
      createAgent({ sessionId: "x", agentType: "", config: { parameters: TOO_MANY, timeoutSeconds: -1, maxConcurrentOperations: -1 }, context: TOO_MANY, metadata: { big: "x".repeat(20_000) }, parentAgentId: "y" }),
    );
    expect(wrongFields(error)).toEqual(["agent_type", "config.max_concurrent_operations", "config.parameters", "config.timeout_seconds", "context", "metadata", "parent_agent_id", "session_id"]);
    expect(wrongFields(await refusal(createAgent({ agentType: "x".repeat(300), config: { requiredCapabilities: Object.keys(TOO_MANY) }, metadata: { ...TOO_MANY, "": "x" } })))).toEqual([
      "agent_type",
      "config.required_capabilities",
      "metadata",
      "metadata",
    ]);
  });

  it("refuses capabilities that the type does not offer, and tells those it does", async () => {
    const error = await refusal(createAgent({ config: { requiredCapabilities: ["echo.do", "echo.fly"] } }));
    expect(wrongFields(error)).toEqual(["config.required_capabilities"]);
    expect(error.message).toMatch(/"echo.fly".*offers echo.do/);
    bench.agents.manifests.set("mute", manifest("mute", { offers: [] }));
    expect((await refusal(createAgent({ agentType: "mute", config: { requiredCapabilities: ["a"] } }))).message).toContain("offers none");
  });

  it("refuses a type, a session and a parent that there is not", async () => {
    expect(await codeOf(createAgent({ agentType: "nope" }))).toBe("AGENT_TYPE_NOT_FOUND");
    expect(await codeOf(createAgent({ sessionId: newId(1) }))).toBe("SESSION_NOT_FOUND");
    expect(await codeOf(createAgent({ parentAgentId: newId(1) }))).toBe("AGENT_NOT_FOUND");
    const foreign = bench.agents.put(bench.echo, { sessionId: newId(1) }).record.agentId;
    expect(await codeOf(createAgent({ parentAgentId: foreign }))).toBe("AGENT_NOT_FOUND");
    const { agentId } = (await createAgent({})).agent!;
    bench.agents.change(agentId, { state: "TERMINATED" });
    expect(await codeOf(createAgent({ parentAgentId: agentId }))).toBe("AGENT_TERMINATED");
  });

  it("refuses an expired session", async () => {
    bench.clock.advance(3_600_000);
    expect(await codeOf(createAgent({}))).toBe("SESSION_EXPIRED");
  });

  it("holds the session to its max_agents, and counts anew when agents have gone", async () => {
    for (let n = 0; n < 3; n++) await createAgent({});
    const error = await refusal(createAgent({}));
    expect(error.code).toBe("AGENT_LIMIT_REACHED");
    expect(error.details.metadata).toMatchObject({ max_agents: "3" });
    bench.agents.change([...bench.agents.views.keys()][0]!, { state: "TERMINATED" });
    await createAgent({});
    expect(await codeOf(createAgent({}))).toBe("AGENT_LIMIT_REACHED");
  });

  it("holds the limit when many are made at once, and gives the place of one that failed to another", async () => {
    const gates: Deferred<void>[] = [];
    bench.agents.spawning = () => {
      const gate = new Deferred<void>();
      gates.push(gate);
      return gate.promise;
    };
    const made = Promise.allSettled(Array.from({ length: 5 }, () => createAgent({})));
    await new Promise((resolve) => setImmediate(resolve));
    expect(gates).toHaveLength(3);
    gates[0]!.reject(new SirsiError("GUEST_TRAP", "init trapped"));
    for (const gate of gates) gate.resolve();
    const codes = (await made).map((outcome) => (outcome.status === "fulfilled" ? "made" : (outcome.reason as SirsiError).code)).toSorted();
    expect(codes).toEqual(["AGENT_LIMIT_REACHED", "AGENT_LIMIT_REACHED", "GUEST_TRAP", "made", "made"]);
    bench.agents.spawning = () => Promise.resolve();
    await createAgent({});
    expect(await codeOf(createAgent({}))).toBe("AGENT_LIMIT_REACHED");
  });

  it("does not keep an agent whose session was ended while it was made", async () => {
    const gate = new Deferred<void>();
    bench.agents.spawning = () => gate.promise;
    const made = codeOf(createAgent({}));
    await new Promise((resolve) => setImmediate(resolve));
    bench.agents.stopping = () => Promise.resolve();
    const ended = bench.sessions.end(sessionId);
    gate.resolve();
    await ended;
    expect(await made).toBe("SESSION_TERMINATED");
    expect(bench.agents.ofSession(sessionId)).toEqual([]);
  });

  it("hands the caller's deadline to the spawn", async () => {
    let deadline: number | null = null;
    const spawn = bench.agents.spawn.bind(bench.agents);
    bench.agents.spawn = (spec) => {
      deadline = spec.deadline;
      return spawn(spec);
    };
    await bench.service.createAgent(create(CreateAgentRequestSchema, { sessionId, agentType: "echo" }), call({ deadline: 123 }));
    expect(deadline).toBe(123);
  });
});

describe("GetAgent, GetAgentStatus and DeleteAgent", () => {
  it("show an agent with its numbers", async () => {
    const { agentId } = (await createAgent({})).agent!;
    const { agent, metrics } = await getAgent(agentId);
    expect(agent!.agentId).toBe(agentId);
    expect(metrics).toMatchObject({ messagesProcessed: 4n, operationsCompleted: 5n, errorsEncountered: 1n, averageResponseTimeMs: 2.5 });
    expect(metrics!.customMetrics).toMatchObject({ latency_p50_ms: 2, latency_p99_ms: 3, latency_max_ms: 4, mailbox_depth: 2, memory_bytes: 65_536, restarts: 0 });
  });

  it("show no average before the first message", async () => {
    const view = bench.agents.put(bench.echo, { sessionId });
    bench.agents.views.set(view.record.agentId, { ...view, counters: { ...view.counters, messagesProcessed: 0, lastActivityAt: 0 } });
    expect((await getAgent(view.record.agentId)).metrics!.averageResponseTimeMs).toBe(0);
    expect((await getStatus(view.record.agentId)).status!.lastActivity).toBeUndefined();
  });

  it("show how an agent is", async () => {
    const { agentId } = (await createAgent({})).agent!;
    const { status, metrics, activeCapabilities, healthStatus } = await getStatus(agentId);
    expect(status).toMatchObject({ state: AgentState.READY, activeOperations: 1 });
    expect(status!.statusDetails).toMatchObject({ mailbox_depth: "2", restarts: "0", idle: "false", module_version: "1.0.0" });
    expect(metrics!.messagesProcessed).toBe(4n);
    expect([activeCapabilities.length, healthStatus]).toEqual([1, "healthy"]);
  });

  it("end an agent, and again", async () => {
    const { agentId } = (await createAgent({})).agent!;
    await deleteAgent(agentId);
    await deleteAgent(agentId);
    const { status, activeCapabilities } = await getStatus(agentId);
    expect(status).toMatchObject({ state: AgentState.TERMINATED, statusMessage: "it was deleted" });
    expect(activeCapabilities).toEqual([]);
  });

  it("work on an expired session until it is removed, for looking and tidying up is not work", async () => {
    const { agentId } = (await createAgent({})).agent!;
    bench.clock.advance(3_600_000);
    expect((await getAgent(agentId)).agent!.agentId).toBe(agentId);
    await deleteAgent(agentId);
  });

  it("refuse malformed ids, all at once, and agents of other sessions", async () => {
    const foreign = bench.agents.put(bench.echo, { sessionId: newId(1) }).record.agentId;
    for (const reach of [getAgent, getStatus, deleteAgent]) {
      expect(await codeOf(reach(newId(1)))).toBe("AGENT_NOT_FOUND");
      expect(await codeOf(reach(foreign))).toBe("AGENT_NOT_FOUND");
    }
    sessionId = "x";
    for (const reach of [getAgent, getStatus, deleteAgent]) expect(wrongFields(await refusal(reach("y")))).toEqual(["agent_id", "session_id"]);
    sessionId = newId(2);
    for (const reach of [getAgent, getStatus, deleteAgent]) expect(await codeOf(reach(foreign))).toBe("SESSION_NOT_FOUND");
    expect(bench.agents.stops).toEqual([]);
  });
});

describe("ListAgents", () => {
  const put = (count: number) => Array.from({ length: count }, (_, n) => bench.agents.put(bench.echo, { sessionId, metadata: { n: String(n) } }, { state: "READY" }).record.agentId);
  const idsOf = ({ agents }: Awaited<ReturnType<typeof listAgents>>) => agents.map(({ agentId }) => agentId);

  it("lists in creation order with the total, all in one page when they fit", async () => {
    const ids = put(5);
    const page = await listAgents();
    expect([idsOf(page), page.totalSize, page.nextPageToken]).toEqual([ids, 5, ""]);
  });

  it("pages on after an agent that is gone", async () => {
    const ids = put(5);
    const first = await listAgents({ pageSize: 2 });
    expect(idsOf(first)).toEqual(ids.slice(0, 2));
    bench.agents.change(ids[1]!, { state: "TERMINATED" });
    bench.agents.change(ids[2]!, { state: "TERMINATED" });
    const late = put(1);
    const second = await listAgents({ pageSize: 2, pageToken: first.nextPageToken });
    expect([idsOf(second), second.totalSize]).toEqual([[ids[3], ids[4]], 4]);
    const third = await listAgents({ pageSize: 2, pageToken: second.nextPageToken });
    expect([idsOf(third), third.nextPageToken]).toEqual([late, ""]);
  });

  it("gives an empty last page when the rest is gone", async () => {
    const ids = put(3);
    const first = await listAgents({ pageSize: 2 });
    bench.agents.change(ids[2]!, { state: "TERMINATED" });
    expect(idsOf(await listAgents({ pageSize: 2, pageToken: first.nextPageToken }))).toEqual([]);
  });

  it("keeps its order though the machine's clock went back", async () => {
    const [a, b] = put(2);
    bench.agents.change(b!, { createdAt: bench.clock.now() - 1_000 });
    const first = await listAgents({ pageSize: 1 });
    const second = await listAgents({ pageSize: 1, pageToken: first.nextPageToken });
    expect([...idsOf(first), ...idsOf(second)]).toEqual([a, b]);
  });

  it("counts and pages what the filter lets through", async () => {
    const ids = put(6);
    const filter = 'metadata["n"] in ["1", "3", "5"]';
    const first = await listAgents({ filter, pageSize: 2 });
    const second = await listAgents({ filter, pageSize: 2, pageToken: first.nextPageToken });
    expect([...idsOf(first), ...idsOf(second)]).toEqual([ids[1], ids[3], ids[5]]);
    expect([first.totalSize, second.totalSize, second.nextPageToken]).toEqual([3, 3, ""]);
  });

  it("refuses a token with another filter, of another session, or made up", async () => {
    put(3);
    const { nextPageToken } = await listAgents({ pageSize: 1 });
    expect(await codeOf(listAgents({ pageToken: nextPageToken, filter: "true" }))).toBe("PAGE_TOKEN_INVALID");
    expect(await codeOf(listAgents({ pageToken: `${nextPageToken.slice(0, -2)}AA` }))).toBe("PAGE_TOKEN_INVALID");
    expect(await codeOf(listAgents({ pageToken: "💥" }))).toBe("PAGE_TOKEN_INVALID");
    const other = await bench.sessions.create({ userId: "bob", context: {}, maxAgents: 0, timeoutSeconds: 0, enableLogging: false, preferences: {}, profile: null });
    expect(await codeOf(listAgents({ sessionId: other.sessionId, pageToken: nextPageToken }))).toBe("PAGE_TOKEN_INVALID");
  });

  it("refuses wrong fields, filters that cannot be used and sessions there are not", async () => {
    expect(wrongFields(await refusal(listAgents({ sessionId: "x", pageSize: -1 })))).toEqual(["page_size", "session_id"]);
    expect(await codeOf(listAgents({ pageSize: 1_001 }))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(listAgents({ filter: "state ==" }))).toBe("FILTER_INVALID");
    expect(await codeOf(listAgents({ sessionId: newId(1) }))).toBe("SESSION_NOT_FOUND");
  });
});
