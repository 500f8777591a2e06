/** Instances of guests, on threads, under limits. */
export type { StepBudget, StepOutcome } from "./instance.ts";
export { type LostOutcome, lostError, type ShardOpenOutcome, type ShardStepOutcome } from "./shard.ts";
export { InstanceHandle, type GuestLogLine, type OpenedInstance, ShardPool, type ShardPoolConfig } from "./shard-pool.ts";
