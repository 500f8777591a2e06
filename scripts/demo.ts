/**
 * The demo: one host, a few agents, real input; then a module is replaced and the host
 * killed, both under traffic, and the books are held against the agents' own counts.
 *
 *   npm run demo
 *
 * Ends with 0 when every check held, else with 1 and the reason.
 */
import { readFileSync, statSync } from "node:fs";
import { basename } from "node:path";
import { exit, stderr } from "node:process";
import { styleText } from "node:util";
import { type Suggestion, SuggestionType } from "../runtime/client/index.ts";
import { type Clock, systemClock } from "../runtime/core/clock.ts";
import { SirsiError } from "../runtime/core/errors.ts";
import { check, heading, seconds, tell } from "./demo/narration.ts";
import { Stage, buildNextCounter, terraformFile } from "./demo/stage.ts";
import { type Increment, Traffic } from "./demo/traffic.ts";

const COUNTERS = 8;
const IN_FLIGHT = 64;
const NEXT_VERSION = "1.1.0";
const LINES_SHOWN = 14;
const SUGGESTIONS_SHOWN = 6;
const TIME_LIMIT_MS = 180_000;

interface Play {
  readonly stage: Stage;
  readonly clock: Clock;
  readonly sessionId: string;
}

async function spawn({ stage, sessionId }: Play, agentType: string): Promise<string> {
  const { agent } = await stage.client.agents.createAgent({ sessionId, agentType });
  return agent?.agentId ?? "";
}

async function ask({ stage, sessionId }: Play, agentId: string, content: string, metadata: Record<string, string> = {}): Promise<string> {
  const { response } = await stage.client.agents.sendMessage({ sessionId, agentId, message: { content, metadata } });
  return response?.content ?? "";
}

// --- the acts ---

async function opening(stage: Stage, clock: Clock): Promise<Play> {
  heading(1, "A host on a temporary directory");
  const started = clock.monotonic();
  const host = await stage.start();
  tell(`   ready in ${seconds(clock.monotonic() - started)}: gRPC ${host.grpcAddress}, HTTP ${host.httpAddress}, process ${host.pid}`);
  const { session, availableAgentTypes } = await stage.client.agents.createSession({ userId: "demo" });
  tell(`   agent types: ${availableAgentTypes.map(({ typeId, version }) => `${typeId}@${version}`).join(", ")}`);
  tell(`   session ${session?.sessionId}`);
  return { stage, clock, sessionId: session?.sessionId ?? "" };
}

async function inventory(play: Play): Promise<void> {
  const file = terraformFile();
  heading(2, `The aws agent reads ${basename(file)} (${Math.ceil(statSync(file).size / 1024)} KiB)`);
  const agentId = await spawn(play, "aws");
  const attachments = [{ name: basename(file), mimeType: "application/json", content: { case: "data" as const, value: readFileSync(file) } }];
  const { response, suggestions } = await play.stage.client.agents.sendMessage({ sessionId: play.sessionId, agentId, message: { content: "inventory", attachments } });
  const [summary = ""] = (response?.content ?? "").split("\nResources (");
  const lines = summary.trimEnd().split("\n");
  for (const line of lines.slice(0, LINES_SHOWN)) tell(line === "" ? "" : `   ${line}`);
  if (lines.length > LINES_SHOWN) tell(`     … and ${lines.length - LINES_SHOWN} more lines`);
  tell(`\n   the first of ${suggestions.length} suggestions:`);
  for (const suggestion of suggestions.slice(0, SUGGESTIONS_SHOWN)) tell(suggestionText(suggestion));
  check(suggestions.length >= 5, `${suggestions.length} suggestions, each with the command that acts on it`, `the aws agent made ${suggestions.length} suggestions of ${file}; at least 5 were expected`);
}

function suggestionText({ priority, type, title, action }: Suggestion): string {
  const kind = Object.entries(SuggestionType).find(([, number]) => number === type)?.[0].toLowerCase() ?? "";
  return `   ${priority} ${kind.padEnd(12)} ${title}\n     ${styleText("dim", `${action?.actionType}: ${action?.command}`)}`;
}

async function relay(play: Play): Promise<void> {
  heading(3, "One agent asks another and waits for it");
  const echo = await spawn(play, "echo");
  const asker = await spawn(play, "relay");
  const answer = await ask(play, asker, "hello from relay", { target: echo });
  check(answer === "hello from relay", `relay asked echo and was answered "${answer}"`, `relay asked echo and answered ${JSON.stringify(answer)}`);
}

async function swap(play: Play, counters: readonly string[], nextFile: string): Promise<number> {
  heading(4, `counter is replaced while ${COUNTERS} agents of it count, ${IN_FLIGHT} messages in flight`);
  const { stage, clock } = play;
  const traffic = new Traffic("swap", counters, IN_FLIGHT, (increment) => send(play, increment));
  await traffic.reached(500);
  const before = traffic.acknowledged.length;
  const replaced = clock.monotonic();
  stage.replaceModule(nextFile);
  await untilMoved(play);
  const during = traffic.acknowledged.length - before;
  const took = clock.monotonic() - replaced;
  await traffic.reached(before + during + 500);
  await traffic.stop();
  tell(`   acknowledged: ${before} before, ${during} in the ${seconds(took)} from the file's change to the last agent's move, ${traffic.acknowledged.length - before - during} after`);
  check(traffic.unacknowledged.length === 0, "no message failed", `${traffic.unacknowledged.length} messages failed: ${traffic.firstFailure}`);
  const { agents } = await stage.client.agents.listAgents({ sessionId: play.sessionId, filter: 'agent_type == "counter"' });
  const moved = agents.filter(({ moduleVersion }) => moduleVersion === NEXT_VERSION).length;
  check(moved === COUNTERS, `all ${COUNTERS} agents serve on counter@${NEXT_VERSION}, with the state they had`, `${moved} of ${COUNTERS} agents moved to counter@${NEXT_VERSION}`);
  await holdBooks(play, counters, traffic.acknowledged.length);
  return traffic.acknowledged.length;
}

/** Until the new revision is active and no agent is left on another. */
async function untilMoved({ stage }: Play): Promise<void> {
  for (;;) {
    const { module } = await stage.client.modules.getModule({ name: "counter" });
    if (module?.lastError) throw new SirsiError("MODULE_REJECTED", `the host did not take the new file: ${module.lastError}`);
    if (module?.active?.version === NEXT_VERSION && module.active.liveAgents === module.liveAgents) return;
    await new Promise((resolve) => systemClock.after(20, () => resolve(undefined)));
  }
}

async function crash(play: Play, counters: readonly string[], counted: number): Promise<void> {
  heading(5, "The host is killed in the middle of the traffic (SIGKILL) and started again");
  const { stage, clock } = play;
  const traffic = new Traffic("crash", counters, IN_FLIGHT, (increment) => send(play, increment, 0));
  await traffic.reached(500);
  await stage.kill();
  await traffic.stop();
  const { acknowledged, unacknowledged } = traffic;
  tell(`   ${acknowledged.length} acknowledged before it died, ${unacknowledged.length} without an answer`);
  const started = clock.monotonic();
  await stage.start();
  tell(`   ready again in ${seconds(clock.monotonic() - started)}`);
  const replayed = await Promise.all(unacknowledged.map((increment) => resend(play, increment)));
  const known = replayed.filter(Boolean).length;
  tell(`   sent the ${unacknowledged.length} again under their ids: ${known} had taken effect already and were answered from the record`);
  await holdBooks(play, counters, counted + acknowledged.length + unacknowledged.length);
}

async function send({ stage, sessionId }: Play, { agentId, messageId }: Increment, retries = 3): Promise<void> {
  await stage.client.agents.sendMessage({ sessionId, agentId, message: { messageId, content: "increment" } }, { retries });
}

async function resend({ stage, sessionId }: Play, { agentId, messageId }: Increment): Promise<boolean> {
  return (await stage.client.agents.sendMessage({ sessionId, agentId, message: { messageId, content: "increment" } })).replayed;
}

async function holdBooks(play: Play, counters: readonly string[], wanted: number): Promise<void> {
  const counts = await Promise.all(counters.map(async (agentId) => Number(await ask(play, agentId, "get"))));
  const sum = counts.reduce((total, count) => total + count, 0);
  check(sum === wanted, `${wanted} increments sent, ${sum} counted: nothing lost, nothing doubled`, `${wanted} increments were sent and ${sum} counted (${counts.join(", ")}): ${sum < wanted ? "some were lost" : "some took effect twice"}`);
}

// --- the whole ---

async function perform(stage: Stage, clock: Clock): Promise<void> {
  tell("building the next version of counter …");
  const nextFile = await buildNextCounter(NEXT_VERSION);
  const started = clock.monotonic();
  const play = await opening(stage, clock);
  await inventory(play);
  await relay(play);
  const counters = await Promise.all(Array.from({ length: COUNTERS }, () => spawn(play, "counter")));
  const counted = await swap(play, counters, nextFile);
  await crash(play, counters, counted);
  const code = await stage.close();
  check(code === 0, "the host drained and ended with 0", `the host ended with ${code} when it was asked to stop`);
  tell(`\nevery check held, in ${seconds(clock.monotonic() - started)}`);
}

async function main(): Promise<number> {
  const stage = new Stage();
  const giveUp = (code: number, why: string) => {
    stderr.write(`\n${why}\n`);
    stage.clear();
    exit(code);
  };
  process.on("SIGINT", () => giveUp(130, "interrupted"));
  process.on("SIGTERM", () => giveUp(143, "told to stop"));
  const late = systemClock.after(TIME_LIMIT_MS, () => giveUp(1, `the demo failed: it did not end within ${seconds(TIME_LIMIT_MS)}`));
  try {
    await perform(stage, systemClock);
    return 0;
  } catch (thrown) {
    const log = stage.log();
    stderr.write(`\nthe demo failed: ${SirsiError.from(thrown).message}\n${log === "" ? "" : `the host's log:\n${log.slice(-4_000)}\n`}`);
    return 1;
  } finally {
    late.cancel();
    stage.clear();
  }
}

exit(await main());
