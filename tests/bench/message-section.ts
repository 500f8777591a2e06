/** SendMessage over gRPC, against a bare grpc-js server, with the same client. */
import type { Figure } from "./figure.ts";
import type { ClientReport } from "./grpc-client.ts";
import { GrpcRig } from "./grpc-rig.ts";
import { contentOf } from "./messages.ts";
import { addedOf, inTurns, ratioOf, readingOf, single } from "./rounds.ts";
import type { Plan, Section } from "./section.ts";
import { type ThreadUse, threadUse, usePerItem } from "./thread-use.ts";

const IN_FLIGHT = 64;
const THROUGHPUT = 0.7;
const DURABLE_THROUGHPUT = 0.6;
const ADDED_MS = 0.5;
const TYPED = "bare grpc-js echo, same message";
const RAW = "bare grpc-js echo, bytes unread";

interface Taken extends ClientReport {
  readonly cpu: Readonly<Record<string, number>>;
}

/** A turn, and what it cost each thread of the server. */
async function costed(pid: number, turn: () => Promise<ClientReport>): Promise<Taken> {
  const before: ThreadUse | null = threadUse(pid);
  const report = await turn();
  return { ...report, cpu: usePerItem(before, threadUse(pid), report.count) };
}

function rate(what: string, ours: readonly Taken[], bareWhat: string, bare: readonly Taken[], atLeast: number | null): Figure {
  const [a, b] = [ours.map((turn) => turn.perSecond), bare.map((turn) => turn.perSecond)];
  return {
    what,
    ours: readingOf(a, "/s"),
    bare: { what: bareWhat, reading: readingOf(b, "/s") },
    compared: ratioOf(a, b),
    target: atLeast === null ? null : { of: "compared", bound: "at least", value: atLeast },
  };
}

function latency(what: string, q: "p50" | "p99", ours: readonly Taken[], bare: readonly Taken[], judged: boolean): Figure {
  const [a, b] = [ours.map((turn) => turn[q]), bare.map((turn) => turn[q])];
  return {
    what: `${what}, ${q}`,
    ours: readingOf(a, "ms"),
    bare: { what: TYPED, reading: readingOf(b, "ms") },
    compared: addedOf(a, b, "ms"),
    target: judged ? { of: "compared", bound: "at most", value: ADDED_MS } : null,
  };
}

/** CPU of the server's threads for one message, and of the bare server's one thread. */
function costs(what: string, ours: readonly Taken[], bare: readonly Taken[]): Figure[] {
  const of = (turns: readonly Taken[], name: string) => turns.map((turn) => turn.cpu[name] ?? 0);
  const names = [...new Set(ours.flatMap((turn) => Object.keys(turn.cpu)))].filter((name) => of(ours, name).some((use) => use >= 1)).toSorted();
  const bareMain = of(bare, "main");
  return names.map((name): Figure => {
    const use = of(ours, name);
    return {
      what: `CPU of the host's thread ${name}, ${what}`,
      ours: readingOf(use, "µs"),
      bare: name === "main" ? { what: `${TYPED}: its one thread`, reading: readingOf(bareMain, "µs") } : null,
      compared: name === "main" ? ratioOf(use, bareMain) : null,
      target: null,
    };
  });
}

async function measure(plan: Plan): Promise<Figure[]> {
  const rig = await GrpcRig.open(plan);
  try {
    const [echoes, one, counters] = [await rig.agents("echo", IN_FLIGHT), await rig.agents("echo", 1), await rig.agents("counter", IN_FLIGHT)];
    const bare = rig.bareLike(echoes);
    const content = contentOf(plan.seed);
    const ms = plan.roundMs;
    const host = (turn: () => Promise<ClientReport>) => () => costed(rig.host.pid, turn);
    const server = (turn: () => Promise<ClientReport>) => () => costed(rig.bare.pid, turn);
    const echo = (to: typeof echoes, inFlight: number, raw = false) => rig.run({ kind: "echo", to, raw, content, inFlight, ms });
    const many = {
      raw: server(() => echo(bare, IN_FLIGHT, true)),
      typed: server(() => echo(bare, IN_FLIGHT)),
      echo: host(() => echo(echoes, IN_FLIGHT)),
      typedAgain: server(() => echo(bare, IN_FLIGHT)),
      one: host(() => echo(one, IN_FLIGHT)),
      counter: host(() => rig.run({ kind: "count", to: counters, inFlight: IN_FLIGHT, ms })),
    };
    const serial = {
      typed: server(() => echo(bare, 1)),
      echo: host(() => echo(one, 1)),
      typedAgain: server(() => echo(bare, 1)),
      counter: host(() => rig.run({ kind: "count", to: counters, inFlight: 1, ms })),
    };
    await inTurns(2, many);
    await inTurns(1, serial);
    const atOnce = await inTurns(plan.rounds, many);
    const inRow = await inTurns(plan.rounds, serial);
    return [
      rate(`SendMessage to echo, ${IN_FLIGHT} in flight to ${IN_FLIGHT} agents`, atOnce.echo, TYPED, atOnce.typed, THROUGHPUT),
      rate(`SendMessage to echo, ${IN_FLIGHT} in flight to one agent, which takes one at a time`, atOnce.one, TYPED, atOnce.typedAgain, THROUGHPUT),
      rate(`SendMessage to echo, ${IN_FLIGHT} in flight, against a server that does not decode`, atOnce.echo, RAW, atOnce.raw, null),
      rate(`SendMessage to counter (durable), ${IN_FLIGHT} in flight to ${IN_FLIGHT} agents`, atOnce.counter, TYPED, atOnce.typedAgain, DURABLE_THROUGHPUT),
      latency("SendMessage to echo, one at a time", "p50", inRow.echo, inRow.typed, true),
      latency("SendMessage to echo, one at a time", "p99", inRow.echo, inRow.typed, false),
      latency("SendMessage to counter (durable), one at a time", "p50", inRow.counter, inRow.typedAgain, false),
      ...costs(`${IN_FLIGHT} in flight`, atOnce.echo, atOnce.typed),
      { what: "answers that were looked at", ours: single([...Object.values(atOnce), ...Object.values(inRow)].flat().reduce((sum, turn) => sum + turn.count, 0), ""), bare: null, compared: null, target: null },
    ];
  } finally {
    await rig.close();
  }
}

export const messageSection: Section = {
  name: "message",
  title: "A message over gRPC",
  notMeasured: ["a network: everything is on the loopback", "TLS", "several clients, or several connections", "large messages and attachments"],
  run: measure,
};
