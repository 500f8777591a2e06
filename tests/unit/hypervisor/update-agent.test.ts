import { create } from "@bufbuild/protobuf";
import { beforeEach, describe, expect, it } from "vitest";
import { AgentState, UpdateAgentRequestSchema } from "../../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { newId } from "../../../runtime/core/ids.ts";
import { call, codeOf, refusal, serviceBench, wrongFields } from "../../support/service-bench.ts";
import type { Fields, ServiceBench } from "../../support/service-bench.ts";

let bench: ServiceBench;
let agentId: string;

const CONFIG = { parameters: { region: "eu", size: "s" }, timeoutSeconds: 10, maxConcurrentOperations: 2, enableCaching: true, requiredCapabilities: ["echo.do"] };
const METADATA = { team: "infra", tier: "gold" };

beforeEach(async () => {
  bench = await serviceBench();
  agentId = bench.agents.put(bench.echo, { sessionId: bench.session.sessionId, config: CONFIG, metadata: METADATA }, { state: "READY" }).record.agentId;
});

type Asked = Fields<typeof UpdateAgentRequestSchema>;

async function update(agent: Asked["agent"], paths: string[], changes: Asked = {}) {
  const request = create(UpdateAgentRequestSchema, { sessionId: bench.session.sessionId, agentId, ...(agent === undefined ? {} : { agent }), updateMask: { paths }, ...changes });
  return (await bench.service.updateAgent(request, call())).agent!;
}

describe("UpdateAgent changes what the mask names and nothing else", () => {
  it.each([
    ["metadata", { metadata: { a: "1" } }, { metadata: { a: "1" } }],
    ["metadata, emptied", { metadata: {} }, { metadata: {} }, ["metadata"]],
    ["metadata.team", { metadata: { team: "sec", tier: "lead" } }, { metadata: { team: "sec", tier: "gold" } }],
    ["metadata.team that is absent", {}, { metadata: { tier: "gold" } }, ["metadata.team"]],
    ["a key with dots", { metadata: { "a.b": "1" } }, { metadata: { ...METADATA, "a.b": "1" } }, ["metadata.a.b"]],
    ["a key in backquotes", { metadata: { "a b": "1" } }, { metadata: { ...METADATA, "a b": "1" } }, ["metadata.`a b`"]],
    ["config.parameters", { config: { parameters: { x: "1" } } }, { config: { ...CONFIG, parameters: { x: "1" } } }],
    ["config.parameters.size", { config: { parameters: { size: "l" } } }, { config: { ...CONFIG, parameters: { region: "eu", size: "l" } } }],
    ["config.timeout_seconds", { config: { timeoutSeconds: 99 } }, { config: { ...CONFIG, timeoutSeconds: 99 } }],
    ["config.timeout_seconds to its default", {}, { config: { ...CONFIG, timeoutSeconds: 0 } }, ["config.timeout_seconds"]],
    ["config.max_concurrent_operations", { config: { maxConcurrentOperations: 7 } }, { config: { ...CONFIG, maxConcurrentOperations: 7 } }],
    ["config.enable_caching", { config: { enableCaching: false } }, { config: { ...CONFIG, enableCaching: false } }],
    ["config.required_capabilities", { config: { requiredCapabilities: [] } }, { config: { ...CONFIG, requiredCapabilities: [] } }],
    ["config", { config: { timeoutSeconds: 5 } }, { config: { parameters: {}, timeoutSeconds: 5, maxConcurrentOperations: 0, enableCaching: false, requiredCapabilities: [] } }],
    ["*", { metadata: { a: "1" } }, { metadata: { a: "1" }, config: { parameters: {}, timeoutSeconds: 0, maxConcurrentOperations: 0, enableCaching: false, requiredCapabilities: [] } }],
    ["several parts", { metadata: { team: "sec" }, config: { timeoutSeconds: 1, parameters: { size: "m" } } }, { metadata: { ...METADATA, team: "sec" }, config: { ...CONFIG, timeoutSeconds: 1, parameters: { region: "eu", size: "m" } } }, ["metadata.team", "config.timeout_seconds", "config.parameters.size"]],
  ] as [string, Asked["agent"], object, string[]?][])("%s", async (path, agent, expected, paths = [path]) => {
    const changed = await update(agent ?? {}, paths);
    expect({ metadata: changed.metadata, config: { ...changed.config } }).toMatchObject({ metadata: METADATA, config: CONFIG, ...expected });
    const { record } = bench.agents.find(agentId)!;
    expect({ metadata: record.metadata, config: record.config }).toEqual({ metadata: METADATA, config: CONFIG, ...expected });
    expect(changed.state).toBe(AgentState.READY);
  });
});

describe("an empty mask", () => {
  it("means every changeable field that is set, and leaves alone what cannot change", async () => {
    await update({ agentId: newId(1), state: AgentState.ERROR, metadata: { a: "1" }, config: { timeoutSeconds: 3, parameters: { p: "1" }, maxConcurrentOperations: 4, enableCaching: true, requiredCapabilities: ["echo.do"] } }, []);
    const { record } = bench.agents.find(agentId)!;
    expect(record).toMatchObject({ agentId, state: "READY", metadata: { a: "1" } });
    expect(record.config).toEqual({ timeoutSeconds: 3, parameters: { p: "1" }, maxConcurrentOperations: 4, enableCaching: true, requiredCapabilities: ["echo.do"] });
  });

  it("keeps what is not set, and changes nothing when nothing is", async () => {
    await update({ config: { timeoutSeconds: 3 } }, []);
    expect(bench.agents.find(agentId)!.record).toMatchObject({ metadata: METADATA, config: { ...CONFIG, timeoutSeconds: 3 } });
    const before = bench.agents.find(agentId)!;
    await update({}, []);
    expect(bench.agents.find(agentId)).toBe(before);
  });
});

describe("UpdateAgent refuses", () => {
  it.each(["agent_id", "state", "agent_type", "created_at", "module_digest"])("the immutable %s", async (path) => {
    const error = await refusal(update({}, [path]));
    expect(wrongFields(error)).toEqual(["update_mask"]);
    expect(error.message).toMatch(new RegExp(`"${path}" cannot be changed`));
  });

  it.each(["nope", "config.nope", "config.__proto__", "config.constructor", "config.timeout_seconds.x", "config.", "", "metadataX"])("the unknown path %j, by its name", async (path) => {
    const error = await refusal(update({}, [path]));
    expect(error.message).toContain(`${JSON.stringify(path)} is not a field`);
    expect(bench.agents.find(agentId)!.record.config).toEqual(CONFIG);
  });

  it("values that an agent may not have, every one of them named", async () => {
    const error = await refusal(update({ metadata: { big: "x".repeat(20_000) }, config: { timeoutSeconds: -1, maxConcurrentOperations: 2_000, requiredCapabilities: ["echo.fly"] } }, ["metadata.big", "metadata.", "config", "state"]));
    expect(wrongFields(error)).toEqual(["agent.config.max_concurrent_operations", "agent.config.required_capabilities", "agent.config.timeout_seconds", "agent.metadata", "update_mask"]);
  });

  it("a request without an agent, malformed ids, foreign and ended agents, and expired sessions", async () => {
    expect(wrongFields(await refusal(update(undefined, ["metadata"])))).toEqual(["agent"]);
    expect(wrongFields(await refusal(update({}, Array.from({ length: 300 }, () => "metadata"))))).toEqual(["update_mask"]);
    expect(wrongFields(await refusal(update({}, [], { sessionId: "", agentId: "" })))).toEqual(["agent_id", "session_id"]);
    const foreign = bench.agents.put(bench.echo, { sessionId: newId(1) }).record.agentId;
    expect(await codeOf(update({}, [], { agentId: foreign }))).toBe("AGENT_NOT_FOUND");
    bench.agents.change(agentId, { state: "TERMINATED", statusMessage: "it was deleted" });
    const error = await refusal(update({}, []));
    expect([error.code, error.message.includes("it was deleted")]).toEqual(["AGENT_TERMINATED", true]);
    bench.clock.advance(3_600_000);
    expect(await codeOf(update({}, []))).toBe("SESSION_EXPIRED");
  });
});
