/** Agents that wait: for each other, for time, and for nobody for ever. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Revision } from "../../runtime/module/revision.ts";
import { delivery, TestHouse, textMessage } from "../support/house.ts";
import { rejection } from "../support/instances.ts";
import { builtRevision, FixedRevisions, fixtureRevision } from "../support/revisions.ts";

let mischief: Revision;
let revisions: FixedRevisions;
let house: TestHouse;

beforeAll(async () => {
  mischief = await fixtureRevision("mischief");
  const patient = await fixtureRevision("mischief", { name: "patient", limits: { memoryMaxBytes: 4_194_304, fuelPerStep: 100_000_000_000 } });
  const ungranted = await fixtureRevision("mischief", { name: "ungranted" }, {}, []);
  revisions = new FixedRevisions(mischief, patient, ungranted, await builtRevision("relay"), await builtRevision("echo"), await builtRevision("counter"));
  house = await TestHouse.open({ revisions });
}, 120_000);

afterAll(() => house.shut());

describe("an agent that waits", () => {
  test("frees its shard: its neighbours on it are served meanwhile", async () => {
    const [waiting, neighbour] = [await house.spawn("mischief"), await house.spawn("mischief")];
    let ended = false;
    const caller = new AbortController();
    const wait = rejection(house.say(waiting, "preview now; sleep 20000", { signal: caller.signal })).then(() => (ended = true));
    for (let i = 1; i <= 20; i++) expect(await house.say(neighbour, "add 1")).toBe(String(i));
    expect(ended).toBe(false);
    expect(await house.look(waiting)).toMatchObject({ record: { state: "BUSY" }, activeOperations: 1 });
    caller.abort();
    await wait;
  });

  test("keeps its stack over many waits in a loop, and what it holds in it", async () => {
    const [relay, echo] = [await house.spawn("relay"), await house.spawn("echo")];
    const message = { ...textMessage("fanout 200 again"), metadata: { target: echo } };
    const reply = await house.house.send(relay, delivery("", { message }));
    expect(reply.response.content).toBe(Array(200).fill("again").join("\n"));
    expect(reply.response.metadata).toMatchObject({ asked: "200", failed: "0" });
  });

  test("is one of many: hundreds of waits at once, on one thread", async () => {
    const agents = await Promise.all(Array.from({ length: 50 }, () => house.spawn("mischief")));
    const answers = await Promise.all(agents.flatMap((agent) => Array.from({ length: 4 }, () => house.say(agent, "add 1; sleep 5; sleep 0; total"))));
    expect(answers.toSorted()).toEqual(agents.flatMap(() => [1, 2, 3, 4].map((i) => `${i}; slept; slept; ${i}`)).toSorted());
  });

  test("may wait while it comes up", async () => {
    const agent = await house.spawn("patient", { config: { ...house.spec("").config, parameters: { on_init: "sleep 5" } } });
    expect(await house.say(agent, "total")).toBe("0");
    const asked = await house.spawn("mischief");
    await house.spawn("mischief", { config: { ...house.spec("").config, parameters: { on_init: `ask ${asked} add 3` } } });
    expect(await house.say(asked, "total")).toBe("3");
  });
});

describe("an agent that asks", () => {
  test("gets the other's answer, and the other learns who asked", async () => {
    const [asker, asked] = [await house.spawn("mischief"), await house.spawn("mischief")];
    expect(await house.say(asker, `add 1; ask ${asked} add 5; total`)).toBe("1; 5; 1");
    expect(await house.say(asker, `ask ${asked} source`)).toBe(asker);
    expect(await house.say(asked, "source; total")).toBe("; 5");
  });

  test("gets a refusal of the other as a value, with the other's code", async () => {
    const [asker, asked] = [await house.spawn("mischief"), await house.spawn("mischief")];
    expect(await house.say(asker, `ask ${asked} fail out_of_cheese; add 1`)).toBe("out_of_cheese; 1");
  });

  test("gets a fault of the other as a value, and has none itself", async () => {
    const [asker, asked] = [await house.spawn("mischief"), await house.spawn("mischief")];
    expect(await house.say(asker, `ask ${asked} abort; ask ${asked} total`)).toBe("guest_trap; 0");
    expect([(await house.look(asker))?.restarts, (await house.look(asked))?.restarts]).toEqual([0, 1]);
  });

  test("nobody, an ended agent, or one of another session gets AGENT_NOT_FOUND as a value", async () => {
    const asker = await house.spawn("mischief");
    const other = await house.house.spawn(house.spec("mischief", { sessionId: await house.addSession() }));
    const ended = await house.spawn("mischief");
    await house.house.stop(ended, "done");
    expect(await house.say(asker, `ask nobody hi; ask ${ended} hi; ask ${other.record.agentId} add 5`)).toBe("agent_not_found; agent_not_found; agent_not_found");
    expect(await house.say(other.record.agentId, "total")).toBe("0");
  });

  test("without the grant is refused as a value, whatever it asks for", async () => {
    const [asker, asked] = [await house.spawn("ungranted"), await house.spawn("mischief")];
    expect(await house.say(asker, `ask ${asked} add 1; sleep 0; add 1`)).toBe("capability_denied; capability_denied; 1");
    expect(await house.say(asked, "total")).toBe("0");
  });

  test("waits no longer than it says for one that has longer work in hand", async () => {
    const [asker, asked] = [await house.spawn("mischief"), await house.spawn("mischief")];
    const caller = new AbortController();
    const busy = rejection(house.say(asked, "sleep 20000", { signal: caller.signal }));
    expect(await house.say(asker, `ask-within 20 ${asked} add 5; add 1`)).toBe("deadline_exceeded; 1");
    caller.abort();
    await busy;
    expect(await house.say(asked, "total")).toBe("0");
  });

  test("asks once, however often its caller repeats the message", async () => {
    const [asker, asked] = [await house.spawn("mischief"), await house.spawn("mischief")];
    const message = textMessage(`ask ${asked} add 5; abort`);
    for (const code of ["GUEST_TRAP", "DEAD_LETTERED"]) expect((await rejection(house.house.send(asker, delivery("", { message })))).code).toBe(code);
    expect(await house.say(asked, "total")).toBe("5");
  });

  test("is given up when its caller goes away, and the asked one's answer then matters to nobody", async () => {
    const [asker, asked] = [await house.spawn("mischief"), await house.spawn("mischief")];
    const caller = new AbortController();
    const gone = rejection(house.say(asker, `add 5; ask ${asked} sleep 20000`, { signal: caller.signal }));
    // The shard has begun the step when it answers the next one.
    await house.say(await house.spawn("mischief"), "total");
    caller.abort();
    expect((await gone).code).toBe("CANCELLED");
    expect(await house.say(asker, "total")).toBe("0");
    expect(await house.say(asked, "total")).toBe("0");
  });
});

describe("G2 a circle of asks is refused when it would close, not by a deadline", () => {
  test("of one", async () => {
    const agent = await house.spawn("mischief");
    expect(await house.say(agent, `ask ${agent} total; add 1`)).toBe("ask_cycle; 1");
  });

  test("of two", async () => {
    const [a, b] = [await house.spawn("mischief"), await house.spawn("mischief")];
    expect(await house.say(a, `ask ${b} ask ${a} total`)).toBe("ask_cycle");
  });

  test("of three, and the same agents serve on afterwards", async () => {
    const [a, b, c] = [await house.spawn("mischief"), await house.spawn("mischief"), await house.spawn("mischief")];
    expect(await house.say(a, `ask ${b} ask ${c} ask ${a} total`)).toBe("ask_cycle");
    expect(await house.say(a, `ask ${b} ask ${c} add 4`)).toBe("4");
  });

  test("also when it closes by two messages that cross", async () => {
    const [a, b] = [await house.spawn("mischief"), await house.spawn("mischief")];
    const answers = await Promise.all([house.say(a, `sleep 5; ask ${b} add 1`), house.say(b, `sleep 5; ask ${a} add 1`)]);
    expect(answers.filter((answer) => answer === "slept; ask_cycle").length).toBe(1);
    expect(answers.filter((answer) => answer === "slept; 1").length).toBe(1);
  });
});
