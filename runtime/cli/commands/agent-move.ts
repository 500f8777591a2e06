/** sirsi agent move. */
import { Option } from "commander";
import type { Command } from "commander";
import { MoveAgentResponseSchema } from "../../client/index.ts";
import { addCommand } from "../command.ts";
import type { Shell } from "../command.ts";
import { cell } from "../text.ts";

export function addMoveCommand(group: Command, shell: Shell): void {
  addCommand<{ readonly to?: string }>(group, shell, {
    usage: "move <agent>",
    summary: "Move an agent to another host of the fleet",
    more: "It goes with its state and what waits for it, also in the middle of a wait; who talks to it notices a pause at most.",
    options: [new Option("--to <host>", "the host, by name or id (default: the one that placement wants it on)")],
    examples: ["agent move AGENT", "agent move AGENT --to HOST"],
    async run(invocation) {
      const agentId = invocation.arg(0);
      const response = await invocation.client.operator.moveAgent({ agentId, host: invocation.options.to ?? "" }, invocation.call);
      const host = response.host?.name || response.host?.hostId || "";
      const human = () => (response.stayed ? `agent ${cell(agentId)} is on ${cell(host)} already\n` : `agent ${cell(agentId)} is on ${cell(host)} now; it paused ${response.pauseMs.toFixed(1)} ms\n`);
      invocation.show(MoveAgentResponseSchema, response, human, [host]);
    },
  });
}
