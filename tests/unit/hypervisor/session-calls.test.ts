import { create } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { beforeEach, describe, expect, it } from "vitest";
import { CreateSessionRequestSchema, DeleteSessionRequestSchema, ExtendSessionRequestSchema, GetSessionRequestSchema, ListSessionsRequestSchema, SessionState } from "../../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { newId } from "../../../runtime/core/ids.ts";
import { call, codeOf, refusal, serviceBench, wrongFields } from "../../support/service-bench.ts";
import type { Fields, ServiceBench } from "../../support/service-bench.ts";

let bench: ServiceBench;
beforeEach(async () => {
  bench = await serviceBench();
});

const createSession = (init: Fields<typeof CreateSessionRequestSchema>) => bench.service.createSession(create(CreateSessionRequestSchema, init), call());
const getSession = (sessionId: string) => bench.service.getSession(create(GetSessionRequestSchema, { sessionId }), call());
const deleteSession = (sessionId: string) => bench.service.deleteSession(create(DeleteSessionRequestSchema, { sessionId }), call());
const listSessions = (init: Fields<typeof ListSessionsRequestSchema>) => bench.service.listSessions(create(ListSessionsRequestSchema, init), call());
const extendSession = (sessionId: string, extendSeconds: number) => bench.service.extendSession(create(ExtendSessionRequestSchema, { sessionId, extendSeconds }), call());

describe("CreateSession", () => {
  it("answers with the session, its user's profile and the agent types there are", async () => {
    const { session, availableAgentTypes } = await createSession({
      userId: "bob",
      context: { ticket: "7" },
      config: { maxAgents: 5, timeoutSeconds: 60, enableLogging: true, preferences: { theme: "dark" } },
      userProfile: { displayName: "Bob", preferences: { unit: "metric" } },
    });
    expect(session).toMatchObject({
      userId: "bob",
      state: SessionState.ACTIVE,
      metadata: { ticket: "7" },
      config: { maxAgents: 5, timeoutSeconds: 60, enableLogging: true, preferences: { theme: "dark" } },
      userProfile: { displayName: "Bob", preferences: { unit: "metric" } },
    });
    expect(timestampMs(session!.expiresAt!)).toBe(bench.clock.now() + 60_000);
    expect(availableAgentTypes.map(({ typeId }) => typeId)).toEqual(["echo", "aws"]);
    expect(availableAgentTypes[0]).toMatchObject({ displayName: "The echo agent", version: "1.0.0", defaultConfig: { mode: "plain" } });
    expect(availableAgentTypes[0]!.capabilities[0]).toMatchObject({ capabilityId: "echo.do", parameters: [{ name: "what", type: "string", required: true }] });
  });

  it("takes a request that says nothing but the user", async () => {
    const { session } = await createSession({ userId: "bob" });
    expect(session).toMatchObject({ config: { maxAgents: 1_000, timeoutSeconds: 3_600 } });
    expect(session!.userProfile).toBeUndefined();
  });

  it("names every wrong field", async () => {
    expect(wrongFields(await refusal(createSession({ config: { maxAgents: -1, timeoutSeconds: -1 } })))).toEqual(["config.max_agents", "config.timeout_seconds", "user_id"]);
  });
});

describe("GetSession", () => {
  it("joins the live agents", async () => {
    const one = bench.agents.put(bench.echo, { sessionId: bench.session.sessionId });
    const ended = bench.agents.put(bench.echo, { sessionId: bench.session.sessionId });
    bench.agents.change(ended.record.agentId, { state: "TERMINATED" });
    const { session, activeAgents } = await getSession(bench.session.sessionId);
    expect(session!.sessionId).toBe(bench.session.sessionId);
    expect(activeAgents.map(({ agentId }) => agentId)).toEqual([one.record.agentId]);
  });

  it("still shows a session that has expired", async () => {
    bench.clock.advance(3_600_000);
    expect((await getSession(bench.session.sessionId)).session!.state).toBe(SessionState.EXPIRED);
  });

  it("refuses a malformed id and does not know a foreign one", async () => {
    expect(wrongFields(await refusal(getSession("x")))).toEqual(["session_id"]);
    expect(await codeOf(getSession(newId(1)))).toBe("SESSION_NOT_FOUND");
  });
});

describe("DeleteSession", () => {
  it("ends the session and its agents, and may be repeated", async () => {
    const { agentId } = bench.agents.put(bench.echo, { sessionId: bench.session.sessionId }).record;
    expect((await deleteSession(bench.session.sessionId)).$typeName).toBe("google.protobuf.Empty");
    await deleteSession(bench.session.sessionId);
    expect(bench.agents.find(agentId)!.record.state).toBe("TERMINATED");
    expect((await getSession(bench.session.sessionId)).session!.state).toBe(SessionState.TERMINATED);
  });

  it("refuses a malformed id and does not know a foreign one", async () => {
    expect(await codeOf(deleteSession(""))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(deleteSession(newId(1)))).toBe("SESSION_NOT_FOUND");
  });
});

describe("ExtendSession", () => {
  it("moves the expiry", async () => {
    const { session } = await extendSession(bench.session.sessionId, 7_200);
    expect(timestampMs(session!.expiresAt!)).toBe(bench.clock.now() + 7_200_000);
  });

  it("refuses a negative time, an expired session and one there is not", async () => {
    expect(wrongFields(await refusal(extendSession(bench.session.sessionId, -5)))).toEqual(["extend_seconds"]);
    expect(await codeOf(extendSession("", 5))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(extendSession(newId(1), 5))).toBe("SESSION_NOT_FOUND");
    bench.clock.advance(3_600_000);
    expect(await codeOf(extendSession(bench.session.sessionId, 5))).toBe("SESSION_EXPIRED");
  });
});

describe("ListSessions", () => {
  it("pages through open sessions, newest first, each once, though some come and go", async () => {
    const ids = [bench.session.sessionId];
    for (let n = 0; n < 6; n++) {
      bench.clock.advance(n % 2);
      ids.unshift((await createSession({ userId: "ada" })).session!.sessionId);
    }
    const first = await listSessions({ pageSize: 3 });
    expect(first.sessions.map(({ sessionId }) => sessionId)).toEqual(ids.slice(0, 3));
    await createSession({ userId: "new" });
    await deleteSession(ids[2]!);
    await deleteSession(ids[4]!);
    const second = await listSessions({ pageSize: 3, pageToken: first.nextPageToken });
    expect(second.sessions.map(({ sessionId }) => sessionId)).toEqual([ids[3], ids[5], ids[6]]);
    expect(second.nextPageToken).toBe("");
  });

  it("shows one user's sessions, in the states that are asked for", async () => {
    const { session } = await createSession({ userId: "bob" });
    await deleteSession(session!.sessionId);
    expect((await listSessions({ userId: "bob" })).sessions).toEqual([]);
    const ended = await listSessions({ userId: "bob", states: [SessionState.TERMINATED, SessionState.EXPIRED] });
    expect(ended.sessions.map(({ sessionId }) => sessionId)).toEqual([session!.sessionId]);
  });

  it("names every wrong field", async () => {
    expect(wrongFields(await refusal(listSessions({ userId: " ", pageSize: 1_001, states: [99 as SessionState] })))).toEqual(["page_size", "states", "user_id"]);
  });

  it("refuses nonsense for a token, and a token of another listing", async () => {
    await createSession({ userId: "ada" });
    const { nextPageToken } = await listSessions({ pageSize: 1 });
    expect(nextPageToken).not.toBe("");
    expect(await codeOf(listSessions({ pageToken: "nonsense" }))).toBe("PAGE_TOKEN_INVALID");
    expect(await codeOf(listSessions({ userId: "ada", pageToken: nextPageToken }))).toBe("PAGE_TOKEN_INVALID");
  });
});
