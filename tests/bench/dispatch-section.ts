/** Messages inside the host, without a transport: from `send` to the settled reply, over one shard. */
import process from "node:process";
import type { Delivery } from "../../runtime/agent/index.ts";
import { encodeMessageCall } from "../../runtime/contract/guest-codec.ts";
import { delivery, TestHouse } from "../support/house.ts";
import { builtRevision, FixedRevisions } from "../support/revisions.ts";
import { BareShard } from "./bare-shard.ts";
import type { Figure } from "./figure.ts";
import { benchMessage, contentOf, nextMessageId } from "./messages.ts";
import { type Flow, flow, inTurns, ratioOf, readingOf } from "./rounds.ts";
import { type Plan, requireRight, type Section } from "./section.ts";
import { threadUse, usePerItem } from "./thread-use.ts";

const AGENTS = 1_000;
/** Every agent has one message in hand and one waiting. */
const IN_FLIGHT = 2 * AGENTS;
const PER_SECOND = 100_000;
const BATCH = 64;
/** Messages ready for the first turn, for each of its milliseconds; later ones are made after the turn before. */
const FIRST_PER_MS = 60;
/** A host keeps no more events of a session than this. */
const EVENTS_KEPT = 1_000;

interface Taken extends Flow {
  readonly cpu: Readonly<Record<string, number>>;
}

async function costed(turn: () => Promise<Flow>): Promise<Taken> {
  const before = threadUse(process.pid);
  const done = await turn();
  return { ...done, cpu: usePerItem(before, threadUse(process.pid), done.count) };
}

/** Preconstructed: what is measured is the host, not the making of messages. */
function deliveries(count: number, content: string): Delivery[] {
  return Array.from({ length: count }, () => delivery(content, { message: benchMessage(nextMessageId("bench"), content) }));
}

/** What its turns have shown: too many messages made ahead would be work for the collector that no host has. */
class Sender {
  readonly #house: TestHouse;
  readonly #agentIds: readonly string[];
  readonly #content: string;
  #perMs = FIRST_PER_MS;

  constructor(house: TestHouse, agentIds: readonly string[], content: string) {
    this.#house = house;
    this.#agentIds = agentIds;
    this.#content = content;
  }

  async turn(ms: number): Promise<Taken> {
    const { events, house } = this.#house;
    const made = deliveries(Math.ceil(ms * this.#perMs * 1.5) + IN_FLIGHT, this.#content);
    let next = 0;
    const once = async (slot: number): Promise<void> => {
      const sent = made[next++] as Delivery;
      if (events.length > EVENTS_KEPT) events.length = 0;
      const { response, messageId } = await house.send(this.#agentIds[slot % AGENTS] as string, sent);
      requireRight(response.content === this.#content && messageId === sent.message.messageId, () => `the reply to ${sent.message.messageId} was ${JSON.stringify(response.content)}`);
    };
    const taken = await costed(() => flow(ms, IN_FLIGHT, once, made.length));
    this.#perMs = taken.perSecond / 1000;
    return taken;
  }
}

async function batches(bare: BareShard, bytes: Uint8Array, ms: number): Promise<Taken> {
  const before = threadUse(process.pid);
  const { count, perSecond } = await flow(ms, Math.ceil(IN_FLIGHT / BATCH), async () => {
    const back = await bare.batch(bytes, BATCH);
    requireRight(back === bytes.length * BATCH, () => "a batch came back shorter");
  });
  return { count: count * BATCH, perSecond: perSecond * BATCH, cpu: usePerItem(before, threadUse(process.pid), count * BATCH) };
}

const COLUMNS: Readonly<Record<string, string>> = { main: "the main thread", "sirsi-shard-0": "the shard", rest: "collector, compiler and I/O threads" };

function costs(ours: readonly Taken[], bare: readonly Taken[]): Figure[] {
  return Object.entries(COLUMNS).flatMap(([name, called]): Figure[] => {
    if (!ours.every((turn) => name in turn.cpu)) return [];
    const use = ours.map((turn) => turn.cpu[name] ?? 0);
    const theirs = bare.map((turn) => turn.cpu[name === "sirsi-shard-0" ? "bench-bare" : name] ?? 0);
    return [{ what: `CPU of ${called} for one message`, ours: readingOf(use, "µs"), bare: { what: `bare round trips in batches of ${BATCH}`, reading: readingOf(theirs, "µs") }, compared: ratioOf(use, theirs), target: null }];
  });
}

async function measure(plan: Plan): Promise<Figure[]> {
  const house = await TestHouse.open({ revisions: new FixedRevisions(await builtRevision("echo")) });
  const content = contentOf(plan.seed);
  const agentIds = await Promise.all(Array.from({ length: AGENTS }, () => house.spawn("echo")));
  const sender = new Sender(house, agentIds, content);
  const bare = new BareShard(null);
  const bytes = encodeMessageCall(benchMessage(nextMessageId("bench"), content), {}, "");
  const once = {
    pipelined: () => costed(() => flow(plan.roundMs / 2, IN_FLIGHT, async () => requireRight((await bare.echo(bytes)) === bytes.length, () => "bytes came back shorter"))),
    batched: () => batches(bare, bytes, plan.roundMs / 2),
    ours: () => sender.turn(plan.roundMs),
  };
  await inTurns(2, once);
  const taken = await inTurns(plan.rounds, once);
  await bare.end();
  await house.shut();
  const rates = (name: keyof typeof once) => taken[name].map((turn) => turn.perSecond);
  const ours = { ours: readingOf(rates("ours"), "/s") } as const;
  return [
    {
      what: `messages through ${AGENTS.toLocaleString("en-US")} echo agents on one shard`,
      ...ours,
      bare: { what: `bare thread round trips of the same bytes, ${BATCH} a batch`, reading: readingOf(rates("batched"), "/s") },
      compared: ratioOf(rates("ours"), rates("batched")),
      target: { of: "ours", bound: "at least", value: PER_SECOND },
    },
    {
      what: "the same, against round trips one message each",
      ...ours,
      bare: { what: `bare thread round trips, ${IN_FLIGHT.toLocaleString("en-US")} in flight`, reading: readingOf(rates("pipelined"), "/s") },
      compared: ratioOf(rates("ours"), rates("pipelined")),
      target: null,
    },
    ...costs(taken.ours, taken.batched),
  ];
}

export const dispatchSection: Section = {
  name: "dispatch",
  title: "Messages inside the host",
  notMeasured: ["gRPC, sessions and request checks: `message` has them", "durability: echo commits nothing", "the keeping of events for followers"],
  run: measure,
};
