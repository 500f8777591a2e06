/** The swap's part of the operator's calls: its options, its summary, and ListSwaps. */
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { Config } from "../../config/index.ts";
import { ListSwapsResponseSchema, SwapSchema, SwapState, SwapSummarySchema } from "../../contract/gen/sirsi/hypervisor/v1/hypervisor_service_pb.ts";
import type { Swap, SwapOptions, SwapSummary } from "../../contract/gen/sirsi/hypervisor/v1/hypervisor_service_pb.ts";
import { FieldViolations } from "../../core/field-violations.ts";
import type { InstallOutcome } from "../../module/index.ts";
import type { Store, SwapRecord, SwapStateName } from "../../store/store.ts";
import { pageSize } from "../agent-service-deps.ts";
import type { HypervisorServiceApi } from "../service-api.ts";
import type { SwapResult } from "./swap-run.ts";
import type { SwapChoices, Swaps } from "./swaps.ts";

const PAGE_SIZE_DEFAULT = 50;
const MODULE_MAX_CHARS = 256;
/** As of the setting swap.watch_ms. */
const WATCH_MAX_MS = 3_600_000;

const STATES: Readonly<Record<SwapStateName, SwapState>> = {
  REHEARSING: SwapState.REHEARSING,
  CANARY: SwapState.CANARY,
  MOVING: SwapState.MOVING,
  WATCHING: SwapState.WATCHING,
  KEPT: SwapState.KEPT,
  REVERTING: SwapState.REVERTING,
  REVERTED: SwapState.REVERTED,
  REJECTED: SwapState.REJECTED,
  DRY_RUN: SwapState.DRY_RUN,
};

export function listSwaps(store: Pick<Store, "listSwaps">): HypervisorServiceApi["listSwaps"] {
  return async (request) => {
    const wrong = new FieldViolations();
    wrong.require(request.module.length <= MODULE_MAX_CHARS, "module", `may have ${MODULE_MAX_CHARS} characters; got ${request.module.length}`);
    const limit = pageSize(request.pageSize, PAGE_SIZE_DEFAULT, wrong);
    wrong.throwIfAny();
    const swaps = await store.listSwaps(request.module === "" ? null : request.module, limit);
    return create(ListSwapsResponseSchema, { swaps: swaps.map(swapMessage) });
  };
}

function swapMessage(record: SwapRecord): Swap {
  const { startedAt, endedAt, rehearsal, state, watchMs, ...plain } = record;
  return create(SwapSchema, {
    ...plain,
    state: STATES[state],
    startedAt: timestampFromMs(startedAt),
    ...(endedAt === null ? {} : { endedAt: timestampFromMs(endedAt) }),
    watchMs: BigInt(Math.round(watchMs)),
    rehearsal: [...rehearsal],
  });
}

export interface ReadSwapOptions extends SwapChoices {
  readonly dryRun: boolean;
}

/** What the request says, and the host's own choices for the rest. INVALID_ARGUMENT. */
export function readSwapOptions(options: SwapOptions | undefined, config: Config["swap"]): ReadSwapOptions {
  const wrong = new FieldViolations();
  const canaryPercent = options?.canaryPercent ?? 0;
  const watchMs = options?.watchMs ?? BigInt(config.watchMs);
  wrong.requireWithin(canaryPercent, 0, 100, "swap.canary_percent", `0 for the host's ${config.canaryPercent}`);
  wrong.require(watchMs >= 0n && watchMs <= BigInt(WATCH_MAX_MS), "swap.watch_ms", `must be 0 to ${WATCH_MAX_MS} milliseconds; got ${watchMs}`);
  wrong.throwIfAny();
  return { canaryPercent: canaryPercent === 0 ? config.canaryPercent : canaryPercent, watchMs: Number(watchMs), dryRun: options?.dryRun ?? false };
}

/** What becomes of the agents of a module whose file was taken, here and (`otherHosts`) elsewhere. */
export async function swapAfter(swaps: Pick<Swaps, "perform" | "dryRun">, outcome: InstallOutcome, options: ReadSwapOptions, otherHosts: () => string = () => ""): Promise<SwapSummary> {
  if (outcome.kind === "candidate") {
    const result = await swaps.perform(outcome, options);
    const { state } = result.record;
    return { ...summaryOf(result), rollOut: state === "REJECTED" || state === "REVERTED" ? "" : otherHosts() };
  }
  if (outcome.kind === "valid" && options.dryRun) return summaryOf(await swaps.dryRun(outcome.revision, options));
  return create(SwapSummarySchema, { rollOut: outcome.kind === "activated" ? otherHosts() : "" });
}

function summaryOf({ record, failureReason }: SwapResult): SwapSummary {
  const { moved, kept, failed, reverted, swapId, state, reason, rehearsal } = record;
  return create(SwapSummarySchema, { moved, kept, failed, reverted, failureReason, swapId, state: STATES[state], reason, rehearsal: [...rehearsal] });
}
