/** What docs/operate.md lets hosts and clients say over NATS, on a server that is configured as it shows. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { CLIENT_LOGIN, HOST_LOGIN, documentedAccounts } from "../../scripts/fleet-demo/documented-accounts.ts";
import { NEVER, NatsRig, bytes, echo, text, type RiggedBus } from "../support/nats-rig.ts";
import { startNats, type RunningServer } from "../support/running-server.ts";

const AGENT = "sirsi.agents.agent.a-1";
const EVENTS = "sirsi.agents.session.s-1.events";
const CONTROL = "sirsi.agents.host.h-1.control";

let server: RunningServer;
beforeAll(async () => {
  server = await startNats({ config: documentedAccounts() });
});
afterAll(() => server[Symbol.asyncDispose]());

let rig: NatsRig;
let host: RiggedBus;
let client: RiggedBus;
beforeEach(async () => {
  rig = new NatsRig();
  host = await rig.open(server.url, { login: HOST_LOGIN });
  client = await rig.open(server.url, { login: CLIENT_LOGIN });
});
afterEach(() => rig[Symbol.asyncDispose]());

/** The server's only complaint is about this subject. */
const complainsOf = ({ reported }: RiggedBus, subject: string) => vi.waitFor(() => expect(reported).toEqual([`${subject}: PERMISSION_DENIED`]), { interval: 5 });

describe("a host", () => {
  it.each([AGENT, EVENTS, "sirsi.agents.session.s-1.topic.news", CONTROL, "sirsi.agents.host.h-1.cancel", "sirsi.agents.fleet.modules", "sirsi.agents.partials.p-1", "$SRV.PING.echo.x"])("may ask and answer on %s", async (subject) => {
    const other = await rig.open(server.url, { login: HOST_LOGIN });
    echo(host.bus, subject);
    await host.bus.flush();
    expect(text(await other.bus.request(subject, bytes("hello"), NEVER))).toBe("hello");
    expect([...host.reported, ...other.reported]).toEqual([]);
  });

  it("may use JetStream", async () => {
    const answer = text(await host.bus.request("$JS.API.INFO", new Uint8Array(), NEVER));
    expect(JSON.parse(answer)).toMatchObject({ type: "io.nats.jetstream.api.v1.account_info_response", streams: 0 });
  });
});

describe("a client", () => {
  it("may ask agents and gets their answers", async () => {
    echo(host.bus, AGENT);
    await host.bus.flush();
    expect(text(await client.bus.request(AGENT, bytes("hello"), NEVER))).toBe("hello");
  });

  it("may follow a session's events", async () => {
    const heard: string[] = [];
    client.bus.subscribe("sirsi.agents.session.*.events", (message) => void heard.push(text(message)));
    await client.bus.flush();
    host.bus.publish(EVENTS, bytes("one"));
    await vi.waitFor(() => expect(heard).toEqual(["one"]));
  });

  it.each([CONTROL, EVENTS, "sirsi.agents.fleet.modules", "$JS.API.INFO"])("may not say anything on %s", async (subject) => {
    const heard: string[] = [];
    if (!subject.startsWith("$")) host.bus.subscribe(subject, (message) => void heard.push(text(message)));
    await host.bus.flush();
    client.bus.publish(subject, bytes("drain"));
    await complainsOf(client, subject);
    expect(heard).toEqual([]);
  });

  it.each([AGENT, CONTROL, "sirsi.agents.>", "sirsi.agents.session.*.topic.>"])("may not listen on %s", async (subject) => {
    client.bus.subscribe(subject, () => undefined);
    await complainsOf(client, subject);
  });
});
