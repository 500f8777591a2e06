export { openRedisContext } from "./redis-context.ts";
export type { RedisContextOptions } from "./redis-context.ts";
