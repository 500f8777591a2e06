/** sirsi events: follows a session. */
import { Option } from "commander";
import type { Command } from "commander";
import { AgentEventSchema } from "../../client/index.ts";
import type { AgentEvent } from "../../client/index.ts";
import { parseCount, parseSequence } from "../arguments.ts";
import { addCommand, sessionOption, textOption } from "../command.ts";
import type { Shell } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import type { SessionOption } from "../invocation.ts";
import { messageJson } from "../message-json.ts";
import { cell, pairs, time } from "../text.ts";

interface EventsOptions extends SessionOption {
  readonly type?: readonly string[];
  readonly from?: bigint;
  readonly max?: number;
}

export function addEventsCommand(program: Command, shell: Shell): void {
  addCommand<EventsOptions>(program, shell, {
    usage: "events",
    summary: "Follow a session's events",
    more: "One event a line, also as JSON, until interrupted.",
    options: [
      sessionOption(),
      textOption("--type <name>", "only this type, such as AGENT_SPAWNED"),
      new Option("--from <sequence>", "kept events from this sequence on come first").argParser(parseSequence),
      new Option("--max <count>", "end after this many").argParser(parseCount),
    ],
    examples: ["events", "events --type AGENT_SPAWNED --type AGENT_STOPPED", "events --from 1 --max 10 -o json"],
    async run(invocation) {
      const { session, type, from, max } = invocation.options;
      const sessionId = await invocation.session(session);
      // --timeout bounds how long to follow; without it, for ever.
      const stream = invocation.client.agents.streamEvents({ sessionId, eventTypes: [...(type ?? [])], fromSequence: from ?? 0n }, invocation.call);
      let count = 0;
      for await (const { event } of stream) {
        if (event === undefined) continue;
        if (invocation.json) invocation.write(`${JSON.stringify(messageJson(AgentEventSchema, event))}\n`);
        else invocation.write(invocation.options.quiet === true ? `${event.eventId}\n` : eventLine(event));
        count += 1;
        if (count === max) return EXIT.ok;
      }
      return EXIT.ok;
    },
  });
}

function eventLine(event: AgentEvent): string {
  const receiver = event.targetAgentId === "" ? "" : ` -> ${cell(event.targetAgentId)}`;
  const topic = event.topic === "" ? "" : ` on ${cell(event.topic)}`;
  return `${event.sequence}  ${time(event.time)}  ${cell(event.eventType)}  ${cell(event.sourceAgentId)}${receiver}${topic}  ${cell(pairs(event.attributes))}\n`;
}
