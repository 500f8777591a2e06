/** sirsi audit: agent, host. */
import { Option } from "commander";
import type { Command } from "commander";
import { AuditAgentResponseSchema, AuditHostResponseSchema } from "../../client/index.ts";
import type { Audit } from "../../client/index.ts";
import { parseCount } from "../arguments.ts";
import { addCommand, addGroup } from "../command.ts";
import type { Shell } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import type { ExitCode } from "../exit-codes.ts";
import { cell, fields } from "../text.ts";

export function addAuditCommands(program: Command, shell: Shell): void {
  const group = addGroup(program, "audit", "Prove from the store that no message was lost or doubled", ["audit host", "audit agent AGENT"]);

  addCommand(group, shell, {
    usage: "agent <agent>",
    summary: "Prove one agent's books",
    more: "They balance when received = done + waiting + dead-lettered, nothing is there twice, and its commits, states and outbox fit together. The exit code tells.",
    examples: ["audit agent 0190f3c2-6b7e-7c31-8a51-3f0d5f0a9c11", "audit agent AGENT -o json"],
    async run(invocation) {
      const response = await invocation.client.operator.auditAgent({ agentId: invocation.arg(0) }, invocation.call);
      invocation.show(AuditAgentResponseSchema, response, () => auditText(response.audit), culprits(response.audit));
      return exitCode(response.audit);
    },
  });

  addCommand<{ readonly maxFindings?: number }>(group, shell, {
    usage: "host",
    summary: "Prove the books of every agent of the host",
    more: "The store is read, nothing is changed, and the host serves on. The exit code tells.",
    options: [new Option("--max-findings <count>", "the most findings to list (default: 100)").argParser(parseCount)],
    examples: ["audit host", "audit host --max-findings 1000 -o json", "sirsi audit host --quiet || sirsi audit host"],
    async run(invocation) {
      const response = await invocation.client.operator.auditHost({ maxFindings: invocation.options.maxFindings ?? 0 }, invocation.call);
      invocation.show(AuditHostResponseSchema, response, () => auditText(response.audit), culprits(response.audit));
      return exitCode(response.audit);
    },
  });
}

function exitCode(audit: Audit | undefined): ExitCode {
  return audit?.balanced === true ? EXIT.ok : EXIT.unbalanced;
}

/** For --quiet: the agents with findings, each once. */
function culprits(audit: Audit | undefined): string[] {
  return [...new Set(audit?.findings.map(({ agentId }) => agentId))];
}

function auditText(audit: Audit | undefined): string {
  if (audit === undefined) return "";
  const { received, done, pending, deadLettered } = audit;
  const adds = received === done + pending + deadLettered;
  const books = fields([
    ["books", audit.balanced ? "balanced" : "NOT BALANCED"],
    ["agents", String(audit.agents)],
    ["messages", `${received} received ${adds ? "=" : "is not"} ${done} done + ${pending} waiting + ${deadLettered} dead-lettered`],
    ["outbox", `${audit.outbox} on their way`],
    ["timers", String(audit.timers)],
  ]);
  const findings = audit.findings.map(({ agentId, check, explanation }) => `agent ${cell(agentId)}: ${cell(explanation)} (${cell(check)})\n`);
  return findings.length === 0 ? books : `${books}\n${findings.join("")}`;
}
