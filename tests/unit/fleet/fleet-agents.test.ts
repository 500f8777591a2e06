import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { SirsiError } from "../../../runtime/core/errors.ts";
import { delivery, FleetRig, SESSION } from "../../support/fleet-rig.ts";
import { echo } from "../../support/fake-agents.ts";

let rig: FleetRig;

beforeEach(() => {
  rig = new FleetRig("a", "b", "c");
});

afterEach(async () => {
  expect(rig.faults).toEqual([]);
  await rig.close();
});

describe("any host answers for any agent", () => {
  test("a message goes to its owner, with all that came with it, and its answer back", async () => {
    const agentId = await rig.agentOn("b");
    const sent = delivery("hello", { context: { from: "a client" }, priority: 4, sourceAgentId: "", traceparent: "00-11111111111111111111111111111111-2222222222222222-01" });
    const reply = await rig.host("a").agents.send(agentId, sent);
    expect(reply.response.content).toBe("hello");
    expect(reply.messageId).toBe(sent.message.messageId);
    expect(rig.host("b").house.deliveries[0]).toMatchObject({ context: sent.context, priority: 4, traceparent: sent.traceparent, message: { messageId: sent.message.messageId, content: "hello" } });
    expect(rig.host("a").house.deliveries).toEqual([]);
  });

  test("who owns an agent is asked of the store once, and of those asked for together in one go", async () => {
    const agents = await Promise.all([rig.agentOn("b"), rig.agentOn("b"), rig.agentOn("c")]);
    await Promise.all(agents.map((agentId) => rig.host("a").agents.send(agentId, delivery("1"))));
    expect(rig.lookUps).toBe(1);
    await Promise.all(agents.map((agentId) => rig.host("a").agents.send(agentId, delivery("2"))));
    expect(rig.lookUps).toBe(1);
  });

  test("what the agent answers with as an error comes as it is", async () => {
    const agentId = await rig.agentOn("c");
    rig.host("c").house.answer = () => {
      throw new SirsiError("GUEST_ERROR", "no such account", { metadata: { guest_code: "404" }, retryAfterMs: 7 });
    };
    await expect(rig.host("a").agents.send(agentId, delivery("x"))).rejects.toMatchObject({ code: "GUEST_ERROR", message: "no such account", details: { metadata: { guest_code: "404" }, retryAfterMs: 7 } });
  });

  test("previews come while the agent works", async () => {
    const agentId = await rig.agentOn("b");
    const partials: string[] = [];
    const seen = Promise.withResolvers<void>();
    rig.host("b").house.answer = async (message) => {
      message.onPartial?.("thinking");
      message.onPartial?.("still thinking");
      await seen.promise;
      return echo(message);
    };
    await rig.host("a").agents.send(agentId, delivery("x", {
      onPartial: (content) => {
        partials.push(content);
        if (partials.length === 2) seen.resolve();
      },
    }));
    expect(partials).toEqual(["thinking", "still thinking"]);
  });

  test("a caller that goes away has the work given up where it is done", async () => {
    const agentId = await rig.agentOn("b");
    const begun = Promise.withResolvers<AbortSignal>();
    const ended = Promise.withResolvers<void>();
    rig.host("b").house.answer = async (message) => {
      begun.resolve(message.signal as AbortSignal);
      await ended.promise;
      return echo(message);
    };
    const caller = new AbortController();
    const answer = rig.host("a").agents.send(agentId, delivery("x", { signal: caller.signal }));
    const signal = await begun.promise;
    caller.abort();
    await expect(answer).rejects.toMatchObject({ code: "CANCELLED" });
    await expect.poll(() => signal.aborted).toBe(true);
    ended.resolve();
  });

  test("looking, changing, releasing and stopping reach the owner too", async () => {
    const agentId = await rig.agentOn("b");
    const { agents } = rig.host("a");
    expect(await agents.find(agentId)).toMatchObject({ mailboxDepth: 2, memoryBytes: 65_536, record: { agentId, state: "READY" } });
    expect((await agents.recordOf(agentId))?.config.timeoutSeconds).toBe(7);
    await agents.update(agentId, { metadata: { colour: "blue" } });
    expect((await agents.find(agentId))?.record.metadata).toEqual({ colour: "blue" });
    await agents.release(agentId);
    expect(rig.host("b").house.released).toEqual([agentId]);
    await agents.stop(agentId, "done with");
    expect(rig.host("b").house.stops).toEqual([{ agentId, reason: "done with" }]);
  });
});

test("agents that share the fate of one that failed are restarted where they are", async () => {
  const ids = [await rig.agentOn("b"), await rig.agentOn("b")];
  await rig.host("a").remote.restart("host-b", ids, "its sibling failed");
  expect(rig.host("b").house.restarted).toEqual(ids.map((id) => `${id} its sibling failed`));
});

describe("placement", () => {
  test("new agents are spread over the hosts, whoever is asked, under the id that placed them", async () => {
    const { agents } = rig.host("a");
    const made = await Promise.all(Array.from({ length: 60 }, () => agents.spawn(rig.spec())));
    const counts = new Map<string, number>();
    for (const { record } of made) {
      expect(record).toMatchObject({ sessionId: SESSION, config: rig.spec().config, context: { topic: "tests" }, metadata: { made: "here" } });
      const owner = rig.owners.get(record.agentId) ?? "";
      counts.set(owner, (counts.get(owner) ?? 0) + 1);
    }
    expect([...counts.keys()].toSorted()).toEqual(["host-a", "host-b", "host-c"]);
    for (const count of counts.values()) expect(count).toBeGreaterThan(5);
  });

  test("a host that has no room is passed over", async () => {
    for (const name of ["b", "c"]) {
      rig.host(name).house.spawning = async () => {
        throw new SirsiError("AGENT_LIMIT_REACHED", "full");
      };
    }
    const made = await Promise.all(Array.from({ length: 12 }, () => rig.host("a").agents.spawn(rig.spec())));
    expect(new Set(made.map(({ record }) => rig.owners.get(record.agentId)))).toEqual(new Set(["host-a"]));
  });

  test("what is wrong with the request is told at once, by one host", async () => {
    await expect(rig.host("a").agents.spawn(rig.spec("nothing"))).rejects.toMatchObject({ code: "AGENT_TYPE_NOT_FOUND" });
  });
});

describe("agents that move", () => {
  test("a message to where the agent was goes on to where it is", async () => {
    const agentId = await rig.agentOn("b");
    await rig.host("a").agents.send(agentId, delivery("1"));
    rig.owners.set(agentId, "host-c");
    expect((await rig.host("a").agents.send(agentId, delivery("2"))).response.content).toBe("2");
    expect(rig.host("c").house.deliveries.length).toBe(1);
    // What the wrong host said was enough.
    expect(rig.lookUps).toBe(1);
  });

  test("an outbox entry that was refused where its receiver was goes to where it is with the next attempt", async () => {
    const agentId = await rig.agentOn("b");
    const { message } = delivery("told");
    const entry = { kind: "message", target: agentId, body: new Uint8Array(), createdAt: 0, sessionId: SESSION, key: { agentId: "sender", commitSequence: 7, index: 1 } } as const;
    expect(await rig.host("a").agents.deliverEntry(entry, message)).toBe("taken");
    rig.owners.set(agentId, "host-c");
    await expect(rig.host("a").agents.deliverEntry(entry, message)).rejects.toMatchObject({ code: "AGENT_FENCED" });
    expect(await rig.host("a").agents.deliverEntry(entry, message)).toBe("taken");
    expect(rig.host("c").house.deliveries[0]?.outboxKey).toEqual(entry.key);
  });

  test("one whose host dies in the middle is taken by another, and the message goes there, under the same id", async () => {
    const agentId = await rig.agentOn("b");
    const begun = Promise.withResolvers<void>();
    rig.host("b").house.answer = async () => {
      begun.resolve();
      return await new Promise<never>(() => undefined);
    };
    const sent = delivery("important");
    const answer = rig.host("a").agents.send(agentId, sent);
    await begun.promise;
    rig.kill("b");
    expect((await answer).messageId).toBe(sent.message.messageId);
    expect(["host-a", "host-c"]).toContain(rig.owners.get(agentId));
  });

  test("an orphan is taken by the host that placement wants it on", async () => {
    const ids = await Promise.all(Array.from({ length: 30 }, () => rig.agentOn("b")));
    rig.kill("b");
    await Promise.all(ids.map((agentId) => rig.host("a").agents.send(agentId, delivery("x"))));
    expect(new Set(ids.map((agentId) => rig.owners.get(agentId)))).toEqual(new Set(["host-a", "host-c"]));
  });

  test("a message that keeps finding nobody is refused in the end, to be sent again", async () => {
    const agentId = await rig.agentOn("b");
    rig.host("b").control.close();
    await expect(rig.host("a").agents.send(agentId, { ...delivery("x"), deadline: performance.now() + 300 })).rejects.toMatchObject({ code: "AGENT_FENCED", details: { retryAfterMs: expect.any(Number) as number } });
  });
});

describe("D5 a host that is not sure of its lease", () => {
  test("answers nothing, not even for its own agents, and other hosts get no answer from it", async () => {
    const agentId = await rig.agentOn("b");
    rig.host("b").fleet.held = false;
    const soon = { ...delivery("x"), deadline: performance.now() + 300 };
    await expect(rig.host("b").agents.send(agentId, soon)).rejects.toMatchObject({ code: "AGENT_FENCED" });
    await expect(rig.host("a").agents.send(agentId, soon)).rejects.toMatchObject({ code: "AGENT_FENCED" });
    expect(rig.host("b").house.deliveries).toEqual([]);
  });

  test("keeps back the reply of a step that ended meanwhile", async () => {
    const agentId = await rig.agentOn("b");
    rig.host("b").house.answer = (message) => {
      rig.host("b").fleet.held = false;
      return echo(message);
    };
    await expect(rig.host("b").agents.send(agentId, { ...delivery("x"), deadline: performance.now() + 200 })).rejects.toMatchObject({ code: "AGENT_FENCED" });
  });
});
