/** Messages whose every step is on disk before its reply, inside the host; and one durable agent asking another. */
import type { Delivery } from "../../runtime/agent/index.ts";
import { delivery, TestHouse } from "../support/house.ts";
import { builtRevision, FixedRevisions } from "../support/revisions.ts";
import { BareDatabase } from "./bare-database.ts";
import { BareShard } from "./bare-shard.ts";
import type { Figure } from "./figure.ts";
import { benchMessage, nextMessageId } from "./messages.ts";
import { flow, inTurns, quantile, ratioOf, readingOf, single, timeEach } from "./rounds.ts";
import { type Plan, requireRight, type Section } from "./section.ts";

const AGENTS = 1_000;
const PER_SECOND = 8_000;
const ASK_MS = 2;
/** What a counter's step writes: state, exchange, progress. */
const ROW = new Uint8Array(700);
const HOP = new Uint8Array(100);
const BATCH = 128;

function message(content: string, metadata: Readonly<Record<string, string>> = {}): Delivery {
  const made = benchMessage(nextMessageId("durable"), content);
  Object.assign(made.metadata, metadata);
  return delivery(content, { message: made });
}

/** Every agent counts its own messages, so a lost or a doubled one shows. */
class Counting {
  readonly #house: TestHouse;
  readonly #agentIds: readonly string[];
  readonly #counts: number[];

  constructor(house: TestHouse, agentIds: readonly string[]) {
    this.#house = house;
    this.#agentIds = agentIds;
    this.#counts = agentIds.map(() => 0);
  }

  async once(slot: number): Promise<void> {
    const { response } = await this.#house.house.send(this.#agentIds[slot] as string, message("increment"));
    const count = (this.#counts[slot] = (this.#counts[slot] ?? 0) + 1);
    requireRight(response.content === String(count), () => `agent ${slot} answered ${response.content} to its message ${count}`);
    if (this.#house.events.length > AGENTS) this.#house.events.length = 0;
  }

  get total(): number {
    return this.#counts.reduce((sum, count) => sum + count, 0);
  }
}

async function measure(plan: Plan): Promise<Figure[]> {
  const [counter, relay, echo] = await Promise.all([builtRevision("counter"), builtRevision("relay"), builtRevision("echo")]);
  const house = await TestHouse.open({ revisions: new FixedRevisions(counter, relay, echo) });
  const agentIds = await Promise.all(Array.from({ length: AGENTS }, () => house.spawn("counter")));
  const counting = new Counting(house, agentIds);
  const [asking, asked] = [await house.spawn("relay"), await house.spawn("counter")];
  const database = new BareDatabase(plan.folder);
  const bare = new BareShard(null);
  let relayed = 0;
  const ask = async (): Promise<void> => {
    const { response } = await house.house.send(asking, message("increment", { target: asked }));
    requireRight(response.content === String(++relayed), () => `request ${relayed} was answered with ${response.content}`);
  };
  const hop = async (): Promise<void> => {
    await bare.echo(HOP);
    database.commit(ROW);
  };
  const rates = {
    bareMany: async () => BATCH * (1000 / quantile(await timeEach(plan.roundMs / 2, () => Promise.resolve(database.commit(ROW, BATCH))), 0.5)),
    many: async () => (await flow(plan.roundMs, AGENTS, (slot) => counting.once(slot))).perSecond,
  };
  const latencies = { bareAsk: () => timeEach(plan.roundMs / 2, hop), ask: () => timeEach(plan.roundMs, ask) };
  await inTurns(2, rates);
  await inTurns(1, latencies);
  const taken = await inTurns(plan.rounds, rates);
  const took = await inTurns(plan.rounds, latencies);
  await bare.end();
  database.close();
  await house.shut();
  const at = (turns: readonly (readonly number[])[], q: number) => turns.map((turn) => quantile(turn, q));
  const [p50, p99, bareP50] = [at(took.ask, 0.5), at(took.ask, 0.99), at(took.bareAsk, 0.5)];
  const rival = { what: "one thread round trip and one flushed SQLite commit", reading: readingOf(bareP50, "ms") };
  return [
    {
      what: `durable messages through ${AGENTS.toLocaleString("en-US")} counters on one shard`,
      ours: readingOf(taken.many, "/s"),
      bare: { what: `SQLite alone in one thread, rows of the same bytes, ${BATCH} a transaction`, reading: readingOf(taken.bareMany, "/s") },
      compared: ratioOf(taken.many, taken.bareMany),
      target: { of: "ours", bound: "at least", value: PER_SECOND },
    },
    { what: "a durable agent asks another, both committed, and its wait too, p50", ours: readingOf(p50, "ms"), bare: rival, compared: ratioOf(p50, bareP50), target: { of: "ours", bound: "at most", value: ASK_MS } },
    { what: "a durable agent asks another, both committed, and its wait too, p99", ours: readingOf(p99, "ms"), bare: null, compared: null, target: null },
    { what: "counted messages, each once", ours: single(counting.total + relayed, ""), bare: null, compared: null, target: null },
  ];
}

export const durableSection: Section = {
  name: "durable",
  title: "Durable messages inside the host",
  notMeasured: ["gRPC: `message` has it", "large states: `checkpoint` has them", "a disk that is slow, or busy with other things"],
  run: measure,
};
