/** What the fleet rests on: NATS with JetStream, PostgreSQL and Redis, as processes of their own. */
import { natsService } from "../../../scripts/services/nats.ts";
import { postgresService } from "../../../scripts/services/postgres.ts";
import { redisService } from "../../../scripts/services/redis.ts";
import { RunningServer } from "../../support/running-server.ts";

/** The machine is never killed, only servers: what the kernel has is safe. */
const POSTGRES = "fsync = off\nmax_connections = 100";

export class FleetServers implements AsyncDisposable {
  readonly nats: RunningServer;
  readonly postgres: RunningServer;
  readonly redis: RunningServer;
  /** Redis was killed, and stays away. */
  redisAway = false;

  private constructor(nats: RunningServer, postgres: RunningServer, redis: RunningServer) {
    this.nats = nats;
    this.postgres = postgres;
    this.redis = redis;
  }

  static async start(): Promise<FleetServers> {
    const started = await Promise.allSettled([RunningServer.start(natsService), RunningServer.start(postgresService, { config: POSTGRES }), RunningServer.start(redisService)]);
    const failed = started.find((one) => one.status === "rejected");
    if (failed !== undefined) {
      for (const one of started) if (one.status === "fulfilled") await one.value.stop();
      throw failed.reason;
    }
    const [nats, postgres, redis] = started.map((one) => (one as PromiseFulfilledResult<RunningServer>).value) as [RunningServer, RunningServer, RunningServer];
    return new FleetServers(nats, postgres, redis);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of [this.redis, this.postgres, this.nats]) await server.stop();
  }
}
