/** Carries out a fault, and the one besides: resolves when they are over, and the fleet has what it needs again. */
import { setTimeout as pause } from "node:timers/promises";
import type { FaultProxy } from "../../support/fault-proxy.ts";
import type { RunningServer } from "../../support/running-server.ts";
import type { FleetMember } from "./fleet-member.ts";
import type { FleetStage } from "./fleet-stage.ts";
import type { FaultKind, FleetFault } from "./schedule.ts";

type Act = (stage: FleetStage, plan: FleetFault, member: FleetMember) => Promise<void>;

const ACTS: Readonly<Record<FaultKind, Act>> = {
  "host-killed": async (stage, { holdMs }, member) => {
    await member.kill();
    await pause(holdMs);
    await stage.start(member);
  },
  "host-paused": async (_stage, { holdMs }, member) => await frozen(member, holdMs),
  "host-paused-long": async (_stage, { holdMs }, member) => await frozen(member, holdMs),
  "nats-cut": async (_stage, { holdMs }, { nats }) => await during(nats, holdMs, () => nats.cut()),
  "nats-slow": async (_stage, { delayMs, holdMs }, { nats }) => await during(nats, holdMs, () => nats.delay(delayMs)),
  "nats-half-open": async (_stage, plan, { nats }) => await during(nats, plan.holdMs, () => freeze(nats, plan)),
  "store-cut": async (_stage, { holdMs }, { store }) => await during(store, holdMs, () => store.cut()),
  "store-slow": async (_stage, { delayMs, holdMs }, { store }) => await during(store, holdMs, () => store.delay(delayMs)),
  "store-half-open": async (_stage, plan, { store }) => await during(store, plan.holdMs, () => freeze(store, plan)),
  "nats-killed": async ({ servers }, { holdMs }) => await killed(servers.nats, holdMs),
  "nats-paused": async ({ servers: { nats } }, { holdMs }) => {
    nats.freeze();
    await pause(holdMs);
    nats.thaw();
  },
  "postgres-killed": async ({ servers }, { holdMs }) => await killed(servers.postgres, holdMs),
  "postgres-restarted": async ({ servers: { postgres } }, { holdMs }) => {
    await postgres.halt();
    await pause(holdMs);
    await postgres.restart();
  },
  "redis-killed": async ({ servers }, { back, holdMs }) => {
    if (servers.redisAway) await servers.redis.restart();
    await servers.redis.kill();
    servers.redisAway = true;
    await pause(holdMs);
    if (!back) return;
    await servers.redis.restart();
    servers.redisAway = false;
  },
  "host-drained": async ({ operator }, { holdMs }, { name }) => {
    await operator.drain(name);
    await pause(holdMs / 2);
    await operator.undrain(name);
  },
  "agents-moved": async ({ ledgers, members, operator }, { moves }) => {
    for (const { agent, host } of moves) await operator.move(ledgers[agent]?.agentId ?? "", members[host]?.name ?? "");
  },
  "rolling-restart": async (stage) => {
    for (const member of stage.members) await stage.restart(member);
  },
  "module-swapped": async ({ doors, members, swapper }, { door, swaps }) => {
    for (const act of swaps) {
      await pause(act.atMs);
      await swapper.act(act, doors.at(members[door]?.name ?? ""));
    }
  },
  "clock-skewed": async (stage, { skewMs }, member) => {
    await member.kill();
    await stage.start(member, skewMs);
  },
};

export async function befall(stage: FleetStage, plan: FleetFault): Promise<void> {
  const act = ACTS[plan.kind](stage, plan, stage.members[plan.host] as FleetMember);
  const { besides } = plan;
  if (besides === null) return await act;
  const second = pause(besides.afterMs).then(() => befall(stage, besides.fault));
  const ends = await Promise.allSettled([act, second]);
  for (const end of ends) if (end.status === "rejected") throw end.reason;
}

async function frozen(member: FleetMember, holdMs: number): Promise<void> {
  member.freeze();
  await pause(holdMs);
  member.thaw();
}

async function during(link: FaultProxy, holdMs: number, begin: () => void): Promise<void> {
  begin();
  await pause(holdMs);
  link.heal();
}

function freeze(link: FaultProxy, { halfOpen }: FleetFault): void {
  if (halfOpen === "both") link.freeze();
  else link.freeze(halfOpen);
}

async function killed(server: RunningServer, holdMs: number): Promise<void> {
  await server.kill();
  await pause(holdMs);
  await server.restart();
}
