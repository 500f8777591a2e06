/** The context that a host is configured to have. */
import type { ContextConfig } from "../../config/index.ts";
import type { Clock } from "../../core/clock.ts";
import type { Logger } from "../../observe/logger.ts";
import type { SharedContext } from "./context.ts";
import { openMemoryContext } from "./memory/index.ts";

export interface ContextDeps {
  /** What every key begins with. */
  readonly prefix: string;
  readonly hostName: string;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Waits for no server. */
export async function openContext({ redisUrl, ttlMs, exchangesKept }: ContextConfig, deps: ContextDeps): Promise<SharedContext> {
  if (redisUrl === null) return openMemoryContext({ ...deps, ttlMs, exchangesKept });
  // Hosts without Redis do without its client.
  const { openRedisContext } = await import("./redis/index.ts");
  return openRedisContext({ ...deps, url: redisUrl, ttlMs, exchangesKept });
}
