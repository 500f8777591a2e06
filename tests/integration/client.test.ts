import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { ClientError, MessageType, SirsiClient } from "../../runtime/client/index.ts";
import { Deferred } from "../../runtime/core/deferred.ts";
import { CannedFailure, startCannedHost } from "../support/canned-host.ts";
import type { CannedHost } from "../support/canned-host.ts";

let host: CannedHost;
let client: SirsiClient;

beforeAll(async () => {
  host = await startCannedHost({});
  client = new SirsiClient({ address: host.address });
});
afterAll(async () => {
  client.close();
  await host[Symbol.asyncDispose]();
});
beforeEach(() => {
  host.handlers = {};
  host.calls.length = 0;
});

const failureOf = async (promise: Promise<unknown>): Promise<ClientError> => {
  const thrown: unknown = await promise.then(() => "no error", (error: unknown) => error);
  expect(thrown).toBeInstanceOf(ClientError);
  return thrown as ClientError;
};

const failTimes = (times: number) => () => {
  if (host.calls.length <= times) throw new CannedFailure("MAILBOX_FULL", "full", { retryAfterMs: 1 });
  return {};
};

const drain = async (stream: AsyncIterable<unknown>) => {
  for await (const _message of stream);
};

describe("a unary call", () => {
  it("carries a plain object there and a typed message back", async () => {
    host.handlers.sendMessage = (request) => ({ messageId: request.message?.messageId ?? "", response: { content: request.message?.content.toUpperCase() ?? "" } });
    const reply = await client.agents.sendMessage({ sessionId: "s", agentId: "a", message: { messageId: "m1", type: MessageType.TEXT, content: "hello" } });
    expect([reply.messageId, reply.response?.content]).toEqual(["m1", "HELLO"]);
  });

  it("reaches the operator's service over the same connection", async () => {
    host.handlers.listModules = () => ({ modules: [{ name: "echo" }] });
    expect((await client.modules.listModules({})).modules.map((module) => module.name)).toEqual(["echo"]);
  });

  it("fails with the host's reason and facts", async () => {
    host.handlers.getAgent = () => {
      throw new CannedFailure("AGENT_NOT_FOUND", "no agent a in session s", { metadata: { agent_id: "a" } });
    };
    expect(await failureOf(client.agents.getAgent({ sessionId: "s", agentId: "a" }))).toMatchObject({
      rpcName: "NOT_FOUND",
      reason: "AGENT_NOT_FOUND",
      message: "no agent a in session s",
      metadata: { agent_id: "a" },
    });
  });

  it("passes its headers on", async () => {
    host.handlers.getSession = (_request, { metadata }) => ({ session: { userId: String(metadata.get("traceparent")[0]) } });
    const { session } = await client.agents.getSession({ sessionId: "s" }, { metadata: { traceparent: "00-ab-cd-01" } });
    expect(session?.userId).toBe("00-ab-cd-01");
  });

  it("has the client's deadline, its own instead, or none", async () => {
    const deadlines: (Date | number)[] = [];
    host.handlers.listSessions = (_request, { deadline }) => {
      deadlines.push(deadline);
      return {};
    };
    await client.agents.listSessions({});
    await client.agents.listSessions({}, { deadlineMs: 5_000 });
    await client.agents.listSessions({}, { deadlineMs: null });
    const [fallback, own, none] = deadlines.map(Number);
    expect(none).toBe(Infinity);
    expect((fallback as number) - (own as number)).toBeGreaterThan(20_000);
  });

  it("ends with DEADLINE_EXCEEDED when its time is over", async () => {
    const gone = new Deferred<void>();
    host.handlers.getAgent = (_request, { signal }) =>
      new Promise(() => signal.addEventListener("abort", () => gone.resolve()));
    expect((await failureOf(client.agents.getAgent({}, { deadlineMs: 100 }))).rpcName).toBe("DEADLINE_EXCEEDED");
    await gone.promise;
  });

  it("ends here and at the host when its signal is aborted", async () => {
    const [arrived, gone, abort] = [new Deferred<void>(), new Deferred<void>(), new AbortController()];
    host.handlers.getAgent = (_request, { signal }) => {
      signal.addEventListener("abort", () => gone.resolve());
      arrived.resolve();
      return new Promise(() => undefined);
    };
    const failure = failureOf(client.agents.getAgent({}, { signal: abort.signal }));
    await arrived.promise;
    abort.abort();
    expect((await failure).rpcName).toBe("CANCELLED");
    await gone.promise;
    expect((await failureOf(client.agents.getAgent({}, { signal: abort.signal }))).rpcName).toBe("CANCELLED");
    expect(host.calls).toEqual(["getAgent"]);
  });

  it("is refused here when its request cannot be written", async () => {
    expect(await failureOf(client.agents.listAgents({ pageSize: 1.5 }))).toMatchObject({ rpcName: "INVALID_ARGUMENT", message: expect.stringContaining("listAgents") as string });
    expect(host.calls).toEqual([]);
  });

  it("is told apart when nobody listens", async () => {
    using nowhere = new SirsiClient({ address: "127.0.0.1:1", retries: 0 });
    expect((await failureOf(nowhere.agents.listSessions({}))).rpcName).toBe("UNAVAILABLE");
    expect(await failureOf(nowhere.connect(50))).toMatchObject({ rpcName: "UNAVAILABLE", message: expect.stringContaining("sirsi serve") as string });
    await expect(client.connect(5_000)).resolves.toBeUndefined();
  });

  it("never begins with an address that is none", () => {
    expect(() => new SirsiClient({ address: "nowhere" })).toThrowError(/host:port/);
  });
});

describe("a call that fails for now", () => {
  it("is sent again when it is a read", async () => {
    host.handlers.getAgent = failTimes(2);
    await client.agents.getAgent({});
    expect(host.calls.length).toBe(3);
  });

  it("is sent again when it is a message with an id, and only then", async () => {
    host.handlers.sendMessage = failTimes(1);
    await client.agents.sendMessage({ message: { messageId: "m1" } });
    expect(host.calls.length).toBe(2);
    host.calls.length = 0;
    await failureOf(client.agents.sendMessage({ message: { content: "no id" } }));
    expect(host.calls.length).toBe(1);
  });

  it("is not sent again when it could take effect twice, unless its caller asks for it", async () => {
    host.handlers.createSession = failTimes(1);
    await failureOf(client.agents.createSession({}));
    expect(host.calls.length).toBe(1);
    host.calls.length = 0;
    await client.agents.createSession({}, { retries: 1 });
    expect(host.calls.length).toBe(2);
  });

  it("fails after a bounded number of attempts", async () => {
    host.handlers.getAgent = failTimes(99);
    expect((await failureOf(client.agents.getAgent({}))).reason).toBe("MAILBOX_FULL");
    expect(host.calls.length).toBe(3);
  });

  it("does not wait past its deadline for another attempt", async () => {
    host.handlers.getAgent = () => {
      throw new CannedFailure("OVERLOADED", "full", { retryAfterMs: 600_000 });
    };
    expect((await failureOf(client.agents.getAgent({}, { deadlineMs: 10_000 }))).reason).toBe("OVERLOADED");
    expect(host.calls.length).toBe(1);
  });

  it("stops waiting for another attempt when its signal is aborted", async () => {
    const abort = new AbortController();
    const refused = new Deferred<void>();
    host.handlers.getAgent = () => {
      refused.resolve();
      throw new CannedFailure("OVERLOADED", "full", { retryAfterMs: 600_000 });
    };
    const failure = failureOf(client.agents.getAgent({}, { deadlineMs: null, signal: abort.signal }));
    await refused.promise;
    abort.abort();
    expect((await failure).rpcName).toBe("CANCELLED");
  });
});

describe("a server stream", () => {
  it("gives what the host sends, to its end", async () => {
    host.handlers.streamEvents = async function* (request) {
      for (const eventType of request.eventTypes) yield { event: { eventType } };
    };
    const seen: string[] = [];
    for await (const { event } of client.agents.streamEvents({ eventTypes: ["A", "B"] })) seen.push(event?.eventType ?? "");
    expect(seen).toEqual(["A", "B"]);
  });

  it("throws the host's error after what came before it", async () => {
    host.handlers.streamEvents = async function* () {
      yield { event: { eventType: "A" } };
      throw new CannedFailure("SESSION_EXPIRED", "too late");
    };
    const seen: string[] = [];
    const read = async () => {
      for await (const { event } of client.agents.streamEvents({})) seen.push(event?.eventType ?? "");
    };
    expect((await failureOf(read())).reason).toBe("SESSION_EXPIRED");
    expect(seen).toEqual(["A"]);
  });

  it("ends at the host when the loop is left", async () => {
    const gone = new Deferred<void>();
    host.handlers.streamEvents = async function* (_request, { signal }) {
      yield { event: { eventType: "A" } };
      await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
      gone.resolve();
    };
    for await (const { event } of client.agents.streamEvents({})) {
      expect(event?.eventType).toBe("A");
      break;
    }
    await gone.promise;
  });

  it("ends when its signal is aborted or it is cancelled, before iteration too", async () => {
    host.handlers.streamEvents = async function* (_request, { signal }) {
      yield { event: { eventType: "A" } };
      await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
    };
    const stream = client.agents.streamEvents({});
    stream.cancel();
    expect((await failureOf(drain(stream))).rpcName).toBe("CANCELLED");
    expect((await failureOf(drain(client.agents.streamEvents({}, { signal: AbortSignal.abort() })))).rpcName).toBe("CANCELLED");
    const abort = new AbortController();
    const late = client.agents.streamEvents({}, { signal: abort.signal })[Symbol.asyncIterator]();
    await late.next();
    abort.abort();
    expect((await failureOf(late.next())).rpcName).toBe("CANCELLED");
  });
});

describe("a conversation", () => {
  it("sends and receives until it is ended", async () => {
    host.handlers.converse = async function* (requests) {
      for await (const { message } of requests) yield { messageId: message?.messageId ?? "", kind: { case: "response", value: { messageId: message?.messageId ?? "" } } };
    };
    const talk = client.agents.converse();
    const answers: string[] = [];
    await talk.send({ sessionId: "s", agentId: "a", message: { messageId: "1" } });
    await talk.send({ message: { messageId: "2" } });
    talk.end();
    for await (const answer of talk) answers.push(`${answer.kind.case} ${answer.messageId}`);
    expect(answers).toEqual(["response 1", "response 2"]);
    expect((await failureOf(talk.send({}))).message).toContain("over");
  });

  it("that the host ends refuses further messages with an error, not a hang", async () => {
    host.handlers.converse = async function* () {
      yield { messageId: "1" };
      throw new CannedFailure("SHUTTING_DOWN", "closing");
    };
    const talk = client.agents.converse();
    const read = async () => {
      for await (const _answer of talk);
    };
    expect((await failureOf(read())).reason).toBe("SHUTTING_DOWN");
    expect((await failureOf(talk.send({}))).message).toContain("over");
  });
});
