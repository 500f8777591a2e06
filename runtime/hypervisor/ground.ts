/** The parts of a host that are opened first and closed last: store, bus, fleet, shards, modules. */
import { mkdirSync } from "node:fs";
import type { Bus } from "../bus/bus.ts";
import { openMemoryBus } from "../bus/memory/index.ts";
import { type Config, defaultHostName } from "../config/index.ts";
import { type Clock, systemClock } from "../core/clock.ts";
import { SirsiError } from "../core/errors.ts";
import { FleetClock } from "../fleet/index.ts";
import { DEFAULT_CACHE_MAX_BYTES, ModuleRegistry } from "../module/index.ts";
import { createLogger, type Logger, type Metrics, openMetrics } from "../observe/index.ts";
import { ShardPool } from "../sandbox/index.ts";
import { openContext, type SharedContext } from "../session/context/index.ts";
import { openSqliteStore } from "../store/sqlite/index.ts";
import type { Store } from "../store/store.ts";
import { type FleetGround, openFleetGround } from "./fleet-ground.ts";
import { sharedBytesOf } from "./fleet-modules/index.ts";
import { guestLogger } from "./guest-log.ts";
import { HostSelf } from "./host-self.ts";
import { SystemUsage } from "./system-usage.ts";

export interface Ground {
  readonly config: Config;
  /** In a fleet the fleet's, else the machine's. */
  readonly clock: Clock;
  /** As the transports below know time. */
  readonly machineClock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly store: Store;
  readonly bus: Bus;
  readonly context: SharedContext;
  /** Null for a host of its own. */
  readonly fleet: FleetGround | null;
  readonly pool: ShardPool;
  readonly modules: ModuleRegistry;
  readonly usage: SystemUsage;
  readonly self: HostSelf;
}

/** How long a shard may show no sign of life before it is replaced. */
const SHARD_STALL_MS = 5_000;

export async function openGround(config: Config, version: string): Promise<Ground> {
  const machineClock = systemClock;
  const fleetClock = new FleetClock(machineClock);
  const clock = config.fleet === null ? machineClock : fleetClock;
  const usage = new SystemUsage(machineClock);
  const self = new HostSelf(config, version, machineClock, usage);
  const log = createLogger({ level: config.log.level, format: config.log.format });
  const metrics = openMetrics();
  makeDataDir(config.store.dataDir);
  const onBusError = (error: SirsiError, subject: string): void => log.warn({ subject, err: error.message }, "a subscriber of the bus failed");
  const fleet = config.fleet === null ? null : await openFleetGround({ config, fleet: config.fleet, clock: machineClock, fleetClock, log, self, onBusError });
  const store = fleet?.store ?? (await openSqliteStore({ dataDir: config.store.dataDir, clock }));
  const bus = fleet?.bus ?? openMemoryBus({ clock, onError: onBusError });
  const context = await openContext(config.context, { prefix: config.bus.topicPrefix, hostName: config.fleet?.hostName ?? defaultHostName(config.store.dataDir), clock, log });
  const pool = new ShardPool({
    clock,
    count: config.shards.count,
    stallMs: SHARD_STALL_MS,
    onLog: guestLogger(log),
    onShardLost: (shard, why) => log.error({ shard, why }, "a shard ended and was replaced; its agents come back from their last commits"),
  });
  const modules = new ModuleRegistry(
    {
      directory: config.modules.directory,
      dataDir: config.store.dataDir,
      policy: { limits: config.guestLimits, limitsMax: config.guestPolicy, defaultGrants: config.modules.defaultGrants, grants: config.modules.grants },
      watch: config.modules.watch,
      keepSuperseded: config.modules.keepRevisions,
      moduleMaxBytes: config.hostLimits.moduleMaxBytes,
      admitTimeoutMs: config.hostLimits.admitTimeoutMs,
      cacheMaxBytes: DEFAULT_CACHE_MAX_BYTES,
      clock,
      holdCandidates: true,
      ...(fleet === null ? {} : { shared: sharedBytesOf(fleet.store) }),
      onFault: (error, where) => log.error({ err: error.message, where }, "the module registry met a fault"),
    },
    store,
  );
  return { config, clock, machineClock, log, metrics, store, bus, context, fleet, pool, modules, usage, self };
}

function makeDataDir(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (thrown) {
    throw new SirsiError("CONFIG_INVALID", `the data directory ${path} cannot be made: ${SirsiError.from(thrown).message}; choose another with --data-dir`, { cause: thrown });
  }
}

export async function closeGround({ modules, pool, context, bus, store, fleet }: Ground): Promise<void> {
  await modules.close();
  await pool.close();
  await context.close();
  await fleet?.host.leave();
  await bus.close();
  await store.close();
  fleet?.release();
}
