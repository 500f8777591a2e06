/** sirsi fleet: status. */
import type { Command } from "commander";
import { GetFleetResponseSchema } from "../../client/index.ts";
import type { FleetModule, GetFleetResponse } from "../../client/index.ts";
import { addCommand, addGroup } from "../command.ts";
import type { Shell } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { hostTable } from "../host-text.ts";
import { fields, table } from "../text.ts";

export function addFleetCommands(program: Command, shell: Shell): void {
  const group = addGroup(program, "fleet", "The fleet as a whole", ["fleet status"]);
  addCommand(group, shell, {
    usage: "status",
    summary: "Show the fleet: its servers, hosts, agents and modules",
    more:
      "Any host answers for all. Agents of nobody come to a host when they are addressed, or at once when they have work in hand. DIFFERING names hosts that do not run what the fleet runs of a module, as while it is rolled out. " +
      "Exits with 1 when one of the servers that the fleet rests on is not well.",
    examples: ["fleet status", "fleet status -o json"],
    async run(invocation) {
      const response = await invocation.client.operator.getFleet({}, invocation.call);
      invocation.show(GetFleetResponseSchema, response, () => fleetText(response), response.hosts.map(({ name }) => name));
      return Object.values(response.servers).every((wrong) => wrong === "") ? EXIT.ok : EXIT.failure;
    },
  });
}

function fleetText({ hosts, inFleet, modules, orphans, servers }: GetFleetResponse): string {
  const agents = hosts.reduce((sum, host) => sum + host.agents, 0n);
  const nobody = orphans === 0n ? "" : `, and ${orphans} of nobody at the moment`;
  const parts = [
    fields([
      ["fleet", inFleet ? `${hosts.length} ${hosts.length === 1 ? "host" : "hosts"}` : "none: this host is on its own"],
      ["agents", `${agents}${nobody}`],
      ...Object.entries(servers)
        .toSorted(([a], [b]) => (a < b ? -1 : 1))
        .map(([name, wrong]) => [name, wrong === "" ? "ok" : wrong] as const),
    ]),
    `\n${hostTable(hosts)}`,
    ...(modules.length === 0 ? [] : [`\n${moduleTable(modules)}`]),
  ];
  return parts.join("");
}

function moduleTable(modules: readonly FleetModule[]): string {
  const rows = modules.map(({ module, version, digest, generation, differingHosts }) => [module, digest === "" ? "removed" : version, digest.slice(0, 12), String(generation), differingHosts.join(" ")]);
  return table(["MODULE", "VERSION", "REVISION", "CHANGE", "DIFFERING"], rows);
}
