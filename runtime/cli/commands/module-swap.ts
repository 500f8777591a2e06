/** What the module commands share about swaps: options, waiting for the end, and how one looks; and sirsi module swaps. */
import { InvalidArgumentError, Option } from "commander";
import type { Command } from "commander";
import { ListSwapsResponseSchema, SwapState, SwapStateSchema } from "../../client/index.ts";
import type { Swap, SwapSummary } from "../../client/index.ts";
import { parseDuration } from "../arguments.ts";
import { addCommand } from "../command.ts";
import type { Shell } from "../command.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import type { Invocation } from "../invocation.ts";
import { limitOption } from "../paging.ts";
import type { LimitOption } from "../paging.ts";
import { cleanText, table, time } from "../text.ts";
import { valueName } from "../value-name.ts";

export interface SwapFlags {
  /** Percent. */
  readonly canary?: number;
  /** Milliseconds. */
  readonly watch?: number;
  readonly dryRun?: boolean;
}

const POLL_MS = 250;
const PAGE_SIZE_MAX = 1_000;

const BAD: ReadonlySet<SwapState> = new Set([SwapState.REJECTED, SwapState.REVERTED]);
const OVER: ReadonlySet<SwapState> = new Set([SwapState.KEPT, SwapState.REVERTED, SwapState.REJECTED, SwapState.DRY_RUN]);

export function swapFlags(): Option[] {
  return [
    new Option("--canary <share>", "share of the live agents that moves first, such as 10% (default: the host's)").argParser(parseShare),
    new Option("--watch <duration>", "watch the new revision's faults for so long, and wait for the verdict (default: the host's time, without waiting)").argParser(parseWatch),
    new Option("--dry-run", "rehearse on copies of live agents, tell what was found, and change nothing"),
  ];
}

export function swapOptionsOf({ canary, watch, dryRun }: SwapFlags) {
  return { canaryPercent: canary ?? 0, dryRun: dryRun ?? false, ...(watch === undefined ? {} : { watchMs: BigInt(watch) }) };
}

function parseShare(text: string): number {
  const share = Number(/^(\d{1,3})%?$/.exec(text)?.[1]);
  if (!(share >= 1 && share <= 100)) throw new InvalidArgumentError("Give a whole share of 1% to 100%.");
  return share;
}

function parseWatch(text: string): number {
  return /^0(ms|s|m|h)?$/.test(text) ? 0 : parseDuration(text);
}

/** With --watch: tells what becomes of the swap, and ends with it. Without: ends with what is known now. */
export async function followSwap(invocation: Invocation<SwapFlags>, summary: SwapSummary | undefined): Promise<ExitCode> {
  if (summary === undefined || summary.swapId === "") return EXIT.ok;
  if (invocation.options.watch === undefined || OVER.has(summary.state)) return verdict(summary.state, summary.reason);
  invocation.note(`watching swap ${summary.swapId} …`);
  for (;;) {
    const { swaps } = await invocation.client.modules.listSwaps({ pageSize: 100 }, invocation.call);
    const swap = swaps.find(({ swapId }) => swapId === summary.swapId);
    if (swap !== undefined && OVER.has(swap.state)) {
      invocation.note(endText(swap));
      return verdict(swap.state, swap.reason);
    }
    await pause(POLL_MS, invocation.signal);
  }
}

/** A dry run's reason is what would have it rejected. */
function verdict(state: SwapState, reason: string): ExitCode {
  return BAD.has(state) || (state === SwapState.DRY_RUN && reason !== "") ? EXIT.refused : EXIT.ok;
}

function endText({ state, moved, reverted, reason, pauseP99Ms, pauseMaxMs }: Swap): string {
  if (state === SwapState.KEPT) return `kept: ${moved} agents moved, each paused ${pauseP99Ms.toFixed(1)} ms at p99, ${pauseMaxMs.toFixed(1)} ms at most`;
  return `${stateName(state)}: ${cleanText(reason)}${reverted === 0 ? "" : ` (${reverted} agents moved back)`}`;
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = () => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", abort);
      resolve();
    }, ms);
    signal.addEventListener("abort", abort, { once: true });
    if (signal.aborted) abort();
  });
}

export function swapText(swap: SwapSummary | undefined): string {
  if (swap === undefined) return "";
  const lines = swap.swapId === "" ? [] : [`swap: ${swap.swapId} ${stateName(swap.state)}`];
  if (swap.reason !== "") lines.push(`reason: ${cleanText(swap.reason)}`);
  lines.push(...swap.rehearsal.map((sentence) => `rehearsal: ${cleanText(sentence)}`));
  const back = swap.reverted === 0 ? "" : `, ${swap.reverted} moved back`;
  lines.push(`agents: ${swap.moved} moved, ${swap.kept} kept on their revision, ${swap.failed} failed to move${back}`);
  if (swap.failureReason !== "") lines.push(`first failure: ${cleanText(swap.failureReason)}`);
  if (swap.rollOut !== "") lines.push(`other hosts: ${cleanText(swap.rollOut)}`);
  return lines.map((line) => `${line}\n`).join("");
}

export function addSwaps(group: Command, shell: Shell): void {
  addCommand<LimitOption>(group, shell, {
    usage: "swaps [name]",
    summary: "List hot swaps, newest first",
    more: "PAUSE is how long an agent took no messages when it moved: at p50, at p99, at most, in milliseconds. KEPT counts agents that are still on their old revision: those asleep move when they next come to memory, those in a long step when it ends.",
    options: [limitOption()],
    examples: ["module swaps", "module swaps echo --limit 5", "module swaps echo -o json"],
    async run(invocation) {
      const response = await invocation.client.modules.listSwaps({ module: invocation.args[0] === undefined ? "" : invocation.arg(0), pageSize: Math.min(Math.max(1, invocation.options.limit), PAGE_SIZE_MAX) }, invocation.call);
      const rows = response.swaps.map((swap) => [
        swap.swapId,
        swap.module,
        stateName(swap.state),
        `${swap.fromDigest.slice(0, 12)} -> ${swap.toDigest.slice(0, 12)}`,
        time(swap.startedAt),
        String(swap.moved),
        String(swap.kept),
        String(swap.failed),
        String(swap.reverted),
        [swap.pauseP50Ms, swap.pauseP99Ms, swap.pauseMaxMs].map((ms) => ms.toFixed(1)).join("/"),
        swap.reason,
      ]);
      const human = () => (rows.length === 0 ? "no swaps\n" : table(["SWAP", "MODULE", "STATE", "REVISIONS", "BEGAN", "MOVED", "KEPT", "FAILED", "BACK", "PAUSE", "REASON"], rows));
      invocation.show(ListSwapsResponseSchema, response, human, response.swaps.map(({ swapId }) => swapId));
    },
  });
}

function stateName(state: SwapState): string {
  return valueName(SwapStateSchema, state);
}
