/** Instances of guests, on threads, under limits. */
export type { DescribedGlobal, Description, DoneOutcome, FailedOutcome, StepBudget, StepOutcome, TakenState, WaitingOutcome } from "./outcomes.ts";
export { type LostOutcome, lostError, type ShardDescribeOutcome, type ShardOpenOutcome, type ShardStateOutcome, type ShardStepOutcome } from "./shard.ts";
export { InstanceHandle, type GuestLogLine, type OpenedInstance, ShardPool, type ShardPoolConfig } from "./shard-pool.ts";
