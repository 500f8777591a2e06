/** sirsi host: list, show, drain, undrain. */
import type { Command } from "commander";
import { DrainHostResponseSchema, GetHostResponseSchema, ListHostsResponseSchema, UndrainHostResponseSchema } from "../../client/index.ts";
import type { DrainHostResponse } from "../../client/index.ts";
import { addCommand, addGroup } from "../command.ts";
import type { Shell } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import type { ExitCode } from "../exit-codes.ts";
import { hostTable, hostText } from "../host-text.ts";
import type { Invocation } from "../invocation.ts";
import { messageJson } from "../message-json.ts";
import { cell } from "../text.ts";

export function addHostCommands(program: Command, shell: Shell): void {
  const group = addGroup(program, "host", "Hosts of the fleet: look at them, take one out, put it back", ["host list", "host drain HOST"]);
  addList(group, shell);
  addShow(group, shell);
  addDrain(group, shell);
  addUndrain(group, shell);
}

function addList(group: Command, shell: Shell): void {
  addCommand(group, shell, {
    usage: "list",
    summary: "List the live hosts of the fleet",
    more: "AGENTS counts those that belong to a host, asleep ones too. A host in no fleet lists itself.",
    examples: ["host list", "host list --quiet", "host list -o json"],
    async run(invocation) {
      const response = await invocation.client.operator.listHosts({}, invocation.call);
      invocation.show(ListHostsResponseSchema, response, () => hostTable(response.hosts), response.hosts.map(({ name }) => name));
    },
  });
}

function addShow(group: Command, shell: Shell): void {
  addCommand(group, shell, {
    usage: "show [host]",
    summary: "Show one host, by its name or id",
    more: "Without one, the host that answers.",
    examples: ["host show", "host show HOST", "host show HOST -o json"],
    async run(invocation) {
      const response = await invocation.client.operator.getHost({ host: invocation.arg(0) }, invocation.call);
      const { host } = response;
      invocation.show(GetHostResponseSchema, response, () => (host === undefined ? "" : hostText(host)), host === undefined ? [] : [host.name]);
    },
  });
}

function addDrain(group: Command, shell: Shell): void {
  addCommand(group, shell, {
    usage: "drain <host>",
    summary: "Move a host's agents to the others, and give it no new ones",
    more:
      "Ends when the last agent has gone; then the host can be stopped. An agent in the middle of a wait goes too, and each pauses only while it moves. " +
      "Interrupting the command does not stop the drain: `sirsi host undrain` does. Exits with 4 when the drain was given up.",
    examples: ["host drain HOST", "host drain HOST --timeout 5m", "host drain HOST -o json"],
    run: drain,
  });
}

/** Tells how far it is whenever that has changed, and ends as the drain does. */
async function drain(invocation: Invocation): Promise<ExitCode> {
  const host = cell(invocation.arg(0));
  let last: DrainHostResponse | null = null;
  for await (const progress of invocation.client.operator.drainHost({ host: invocation.arg(0) }, invocation.call)) {
    if (invocation.json) invocation.write(`${JSON.stringify(messageJson(DrainHostResponseSchema, progress))}\n`);
    else if (!progress.done && (progress.moved !== last?.moved || progress.left !== last.left)) invocation.note(progressText(progress));
    last = progress;
  }
  if (last?.done !== true) {
    invocation.note(`host ${host} no longer tells how far its drain is; see \`sirsi host show ${host}\``);
    return EXIT.failure;
  }
  if (last.left > 0n) {
    invocation.note(`the drain of host ${host} was given up: ${last.left} agents are still there${last.lastFailure === "" ? "" : `; the last that could not go: ${cell(last.lastFailure)}`}`);
    return EXIT.refused;
  }
  if (!invocation.json && invocation.options.quiet !== true) invocation.write(endText(host, last));
  return EXIT.ok;
}

function progressText({ moved, left, failed, lastFailure }: DrainHostResponse): string {
  const stuck = failed === 0n ? "" : `, ${failed} cannot go yet${lastFailure === "" ? "" : ` (${cell(lastFailure)})`}`;
  return `moved ${moved}, left ${left}${stuck}`;
}

function endText(host: string, { moved, elapsedMs, pauseP50Ms, pauseP99Ms, pauseMaxMs }: DrainHostResponse): string {
  const pauses = [pauseP50Ms, pauseP99Ms, pauseMaxMs].map((ms) => ms.toFixed(1)).join("/");
  return `host ${host} is drained: ${moved} agents moved in ${(Number(elapsedMs) / 1_000).toFixed(1)} s; those in memory paused ${pauses} ms (p50/p99/most)\n`;
}

function addUndrain(group: Command, shell: Shell): void {
  addCommand(group, shell, {
    usage: "undrain <host>",
    summary: "Let a drained host take agents again",
    more: "A drain that is still going on is given up. Agents that went stay where they are; new ones, and those that are moved, come here again.",
    examples: ["host undrain HOST"],
    async run(invocation) {
      const response = await invocation.client.operator.undrainHost({ host: invocation.arg(0) }, invocation.call);
      const name = response.host?.name ?? invocation.arg(0);
      if (invocation.json) invocation.show(UndrainHostResponseSchema, response, () => "", []);
      else invocation.note(`host ${cell(name)} takes agents again`);
    },
  });
}
