/** sirsi health. */
import { Option } from "commander";
import type { Command } from "commander";
import { GetSystemHealthResponseSchema, HealthStatus, HealthStatusSchema } from "../../client/index.ts";
import { addCommand } from "../command.ts";
import type { Shell } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { fields, pairs, table, time } from "../text.ts";
import { valueName } from "../value-name.ts";

export function addHealthCommand(program: Command, shell: Shell): void {
  addCommand<{ readonly metrics?: boolean }>(program, shell, {
    usage: "health",
    summary: "Show how the host and its parts are",
    more: "Exits with 1 when the host is not healthy or degraded.",
    options: [new Option("--metrics", "the host's figures too")],
    examples: ["health", "health --metrics -o json"],
    async run(invocation) {
      const response = await invocation.client.agents.getSystemHealth({ includeMetrics: invocation.options.metrics === true }, invocation.call);
      const overall = response.health?.overallStatus ?? HealthStatus.UNSPECIFIED;
      const parts = Object.entries(response.health?.components ?? {}).toSorted(([a], [b]) => (a < b ? -1 : 1));
      const human = () => {
        const rows = parts.map(([name, part]) => [name, valueName(HealthStatusSchema, part.status), part.message, pairs(part.details)]);
        const head = fields([["host", valueName(HealthStatusSchema, overall)], ["checked", time(response.health?.lastCheck)]]);
        const metrics = response.metrics;
        const figures =
          metrics === undefined
            ? ""
            : `\n${fields([
                ["sessions", String(metrics.activeSessions)],
                ["agents", String(metrics.totalAgents)],
                ["cpu", `${metrics.cpuUsagePercent.toFixed(1)} %`],
                ["memory", `${metrics.memoryUsagePercent.toFixed(1)} %`],
                ["up", `${metrics.uptimeSeconds} s`],
                ["more", pairs(metrics.customMetrics)],
              ])}`;
        return `${head}\n${table(["PART", "STATUS", "MESSAGE", "DETAILS"], rows)}${figures}`;
      };
      invocation.show(GetSystemHealthResponseSchema, response, human, [valueName(HealthStatusSchema, overall)]);
      return overall === HealthStatus.HEALTHY || overall === HealthStatus.DEGRADED ? EXIT.ok : EXIT.failure;
    },
  });
}
