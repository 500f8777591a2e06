/** What a host in a process of its own keeps when it is killed, and finishes when it is asked to stop. */
import { status } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { AgentState, ClientError, SessionState } from "../../runtime/client/index.ts";
import { runHostProcess, type TestHostProcess } from "../support/running-host.ts";

let host: TestHostProcess;

beforeAll(async () => {
  // Far enough back for every id of the traffic below.
  host = await runHostProcess({ modules: ["counter", "relay"], env: { SIRSI_AGENTS_EXCHANGES_KEPT: "1000" } });
}, 240_000);

afterAll(async () => {
  await host[Symbol.asyncDispose]();
});

async function spawn(agentType: string): Promise<{ readonly sessionId: string; readonly agentId: string }> {
  const { session } = await host.client.agents.createSession({ userId: "ada", config: { preferences: { tone: "short" } }, userProfile: { displayName: "Ada" } });
  const sessionId = session?.sessionId ?? "";
  const { agent } = await host.client.agents.createAgent({ sessionId, agentType, metadata: { team: "infra" } });
  return { sessionId, agentId: agent?.agentId ?? "" };
}

const send = (place: { readonly sessionId: string; readonly agentId: string }, content: string, messageId: string = crypto.randomUUID()) =>
  host.client.agents.sendMessage({ ...place, message: { messageId, content } }, { retries: 0 });

describe("D1, D2, D3: kill -9", () => {
  it("loses nothing that was acknowledged: sessions, agents, state, conversation, known message ids", async () => {
    const place = await spawn("counter");
    const first = await send(place, "add 5", "m-1");
    await send(place, "increment", "m-2");
    expect(await host.restart("SIGKILL")).toMatchObject({ signal: "SIGKILL" });

    const { agents } = host.client;
    expect((await agents.getSession({ sessionId: place.sessionId })).session).toMatchObject({ state: SessionState.ACTIVE, userId: "ada", config: { preferences: { tone: "short" } }, userProfile: { displayName: "Ada" } });
    expect(await agents.getAgent(place)).toMatchObject({ agent: { state: AgentState.READY, agentType: "counter", metadata: { team: "infra" } }, metrics: { messagesProcessed: 2n } });
    expect(await send(place, "add 5", "m-1")).toMatchObject({ replayed: true, response: { content: first.response?.content } });
    expect((await send(place, "get")).response?.content).toBe("6");
    expect((await agents.listMessages(place)).exchanges.map(({ message }) => message?.content)).toEqual(["get", "increment", "add 5"]);
  }, 120_000);

  it("in the middle of traffic leaves every increment done once when the unacknowledged ones are sent again", async () => {
    const place = await spawn("counter");
    const ids = Array.from({ length: 300 }, (_, i) => `i-${i}`);
    const acknowledged = new Set<string>();
    const all = Promise.allSettled(
      ids.map(async (id) => {
        await send(place, "increment", id);
        acknowledged.add(id);
      }),
    );
    await vi.waitFor(() => expect(acknowledged.size).toBeGreaterThan(20), { interval: 1, timeout: 20_000 });
    await host.restart("SIGKILL");
    await all;
    const open = ids.filter((id) => !acknowledged.has(id));
    expect(Number((await send(place, "get")).response?.content)).toBeGreaterThanOrEqual(acknowledged.size);
    await Promise.all(open.map((id) => send(place, "increment", id)));
    expect((await send(place, "get")).response?.content).toBe("300");
  }, 120_000);
});

describe("SIGTERM", () => {
  it("lets the message in hand finish, refuses new ones, and ends with 0", async () => {
    const place = await spawn("relay");
    const inHand = send(place, "sleep 1500");
    await vi.waitFor(async () => expect((await host.client.agents.getAgentStatus(place)).status?.activeOperations).toBe(1), { interval: 10, timeout: 20_000 });
    const ended = host.process.end("SIGTERM");
    const refusal = await vi.waitFor(async () => {
      const thrown: unknown = await host.client.agents.getAgent(place, { retries: 0 }).catch((error: unknown) => error);
      expect(thrown).toBeInstanceOf(ClientError);
      return thrown as ClientError;
    }, 20_000);
    expect(refusal.rpcCode).toBe(status.UNAVAILABLE);
    expect((await inHand).response?.content).toBe("slept 1500 ms");
    expect(await ended).toEqual({ code: 0, signal: null });
    await host.restart("SIGTERM");
    expect((await host.client.agents.getAgent(place)).metrics?.messagesProcessed).toBe(1n);
  }, 120_000);
});
