/** What is on its way into the stream, with a bus and a clock that the test holds. */
import { beforeEach, expect, it } from "vitest";
import type { BusMessage, PublishOptions } from "../../runtime/bus/index.ts";
import { JetStreamAppends } from "../../runtime/bus/nats/jetstream-appends.ts";
import { ManualClock } from "../../runtime/core/clock.ts";
import { SirsiError } from "../../runtime/core/errors.ts";
import { silentLogger } from "../../runtime/observe/index.ts";

interface Sent {
  readonly id: string;
  readonly reply: string | null;
}

let clock: ManualClock;
let sent: Sent[];
let fault: SirsiError | null;
let held: boolean;
let missing: number;
let appends: JetStreamAppends;
const warned: string[] = [];

beforeEach(() => {
  clock = new ManualClock();
  sent = [];
  fault = null;
  held = true;
  missing = 0;
  warned.length = 0;
  const publish = (_subject: string, _data: Uint8Array, options: PublishOptions = {}) => {
    if (fault !== null) throw fault;
    sent.push({ id: options.headers?.["Nats-Msg-Id"] ?? options.headers?.["id"] ?? "", reply: options.reply ?? null });
  };
  const log = { ...silentLogger, warn: (_fields: unknown, message?: string) => void warned.push(message ?? "") };
  appends = new JetStreamAppends({ bus: { publish }, clock, log, inbox: "in", mayAppend: () => held, onMissing: () => void missing++, waitingMax: 5, waitingMaxBytes: 10_000 });
});

const append = (...ids: readonly string[]) => {
  for (const id of ids) appends.append("s", id, new Uint8Array(10), { id });
};
const ids = () => sent.map(({ id }) => id);
const turn = () => Promise.resolve();
const answer = (number: number, text: string) => appends.hear({ subject: `in.${number}`, data: new TextEncoder().encode(text) } as unknown as BusMessage);
const confirm = (number: number) => answer(number, `{"stream":"x","seq":${number}}`);

it("what is appended in one go leaves together, in order, and one confirmation is good for all (A5)", async () => {
  appends.open(30_000);
  append("a", "b", "c");
  expect(sent).toEqual([]);
  await turn();
  expect(sent).toEqual([{ id: "a", reply: null }, { id: "b", reply: null }, { id: "c", reply: "in.3" }]);
  append("d");
  await turn();
  confirm(3);
  expect(appends.counts).toEqual({ appended: 4, repeated: 0, lost: 0, waiting: 1 });
  confirm(4);
  expect(appends.counts.waiting).toBe(0);
  expect(clock.pending).toBe(1);
  clock.advance(1_000);
  expect(clock.pending).toBe(0);
});

it("what waits while there is no stream goes out when it is there", async () => {
  append("a", "b");
  await turn();
  expect(sent).toEqual([]);
  appends.open(30_000);
  expect(ids()).toEqual(["a", "b"]);
});

it("what was not confirmed is sent again after a lost connection, before what came since (A2)", async () => {
  appends.open(30_000);
  append("a", "b");
  await turn();
  appends.hold();
  append("c");
  clock.advance(2_000);
  appends.open(30_000);
  expect(ids()).toEqual(["a", "b", "a", "b", "c"]);
  expect(appends.counts).toMatchObject({ repeated: 2, lost: 0, waiting: 3 });
});

it("what has no confirmation in time is sent again, and given up before its id could be forgotten (A2)", async () => {
  appends.open(12_000);
  append("a");
  await turn();
  clock.advance(4_000);
  append("b");
  await turn();
  clock.advance(2_000);
  expect(ids()).toEqual(["a", "b", "a"]);
  answer(2, `{"error":{"code":503,"description":"busy"}}`);
  expect(warned).toEqual(["the stream refuses events: busy"]);
  clock.advance(20_000);
  expect(appends.counts).toMatchObject({ lost: 2, waiting: 0 });
});

it("nothing overtakes what the bus would not take (A4)", async () => {
  appends.open(30_000);
  fault = new SirsiError("BUS_UNAVAILABLE", "full");
  append("a", "b");
  await turn();
  fault = null;
  append("c");
  await turn();
  expect(ids()).toEqual(["a", "b", "c"]);
});

it("what no bus would ever take is lost, counted and told once", async () => {
  appends.open(30_000);
  fault = new SirsiError("PAYLOAD_TOO_LARGE", "too much");
  append("a", "b");
  await turn();
  expect(appends.counts).toEqual({ appended: 2, repeated: 0, lost: 2, waiting: 0 });
  expect(warned).toHaveLength(1);
});

it("has bounded room (A1)", async () => {
  append("a", "b", "c", "d", "e", "f");
  expect(appends.counts).toMatchObject({ lost: 1, waiting: 5 });
  appends.open(30_000);
  confirm(5);
  appends.append("s", "big", new Uint8Array(9_800), {});
  expect(appends.counts).toMatchObject({ lost: 2, waiting: 0 });
});

it("sends nothing, first or again, while it may not (A3, D5)", async () => {
  appends.open(30_000);
  append("a");
  await turn();
  append("b");
  held = false;
  await turn();
  append("c");
  await turn();
  expect(ids()).toEqual(["a"]);
  appends.hold();
  appends.open(30_000);
  expect(ids()).toEqual(["a"]);
  expect(appends.counts).toMatchObject({ waiting: 0, lost: 0 });
});

it("without a stream sends once, without asking, and drops what cannot be sent", async () => {
  append("a");
  appends.plain();
  append("b");
  fault = new SirsiError("BUS_UNAVAILABLE", "away");
  append("c");
  expect(sent).toEqual([{ id: "a", reply: null }, { id: "b", reply: null }]);
  expect(appends.counts).toMatchObject({ lost: 1, waiting: 0 });
});

it("notices that the stream is gone", async () => {
  appends.open(30_000);
  append("a");
  await turn();
  answer(1, "");
  expect(missing).toBe(1);
  expect(appends.counts.waiting).toBe(1);
});

it("tells when all is settled, and does not wait longer than it may", async () => {
  appends.open(30_000);
  await appends.settled(1_000);
  append("a");
  await turn();
  const outcomes: string[] = [];
  const [first, second] = [appends.settled(100).then(() => void outcomes.push("late")), appends.settled(60_000).then(() => void outcomes.push("settled"))];
  clock.advance(100);
  await first;
  expect(outcomes).toEqual(["late"]);
  confirm(1);
  await second;
  expect(outcomes).toEqual(["late", "settled"]);
});
