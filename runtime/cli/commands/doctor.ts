/** sirsi doctor: looks at what a host needs, and says what to do about what is amiss. */
import { accessSync, constants, existsSync, readdirSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { dirname } from "node:path";
import type { Command } from "commander";
import { HealthStatus, HealthStatusSchema, SirsiClient } from "../../client/index.ts";
import { formatAddress } from "../../config/index.ts";
import type { Config, ListenAddress } from "../../config/index.ts";
import { addCommand } from "../command.ts";
import type { Shell } from "../command.ts";
import { serverChecks } from "../doctor-servers.ts";
import type { Check } from "../doctor-servers.ts";
import { EXIT } from "../exit-codes.ts";
import { hostOptions, loadHostConfig } from "../host-options.ts";
import type { HostOptions } from "../host-options.ts";
import type { Invocation } from "../invocation.ts";
import { table } from "../text.ts";
import { valueName } from "../value-name.ts";

const NEEDED_NODE = 26;
const PROBE_MS = 2_000;

export function addDoctorCommand(program: Command, shell: Shell): void {
  addCommand<HostOptions>(program, shell, {
    usage: "doctor",
    summary: "Check this machine, the configuration and the host",
    more: "For a host of a fleet also whether its servers can be reached. Exits with 1 when something failed.",
    options: hostOptions(),
    examples: ["doctor", "doctor --fleet", "doctor --config sirsi.toml -o json"],
    async run(invocation) {
      const config = loadHostConfig(invocation);
      const host = await probe(invocation, invocation.address);
      const checks = [
        nodeCheck(process.versions.node),
        { name: "configuration", result: "ok", finding: config.file ?? "no file; defaults, environment and flags", next: "" } as const,
        dataCheck(config),
        moduleCheck(config),
        await portCheck(invocation, "gRPC port", config.grpc.listen),
        await portCheck(invocation, "HTTP port", config.http.listen, host),
        ...(await serverChecks(config)),
        hostCheck(invocation.address, host),
      ];
      if (invocation.json) invocation.write(`${JSON.stringify({ checks }, null, 2)}\n`);
      else invocation.write(report(checks));
      return checks.some((check) => check.result === "failed") ? EXIT.failure : EXIT.ok;
    },
  });
}

function report(checks: readonly Check[]): string {
  const rows = checks.map((check) => [check.name, check.result, check.finding]);
  const next = checks.flatMap((check) => (check.next === "" ? [] : [`  ${check.name}: ${check.next}\n`]));
  return table(["CHECK", "RESULT", "FINDING"], rows) + (next.length === 0 ? "\nall is well\n" : `\nwhat to do:\n${next.join("")}`);
}

export function nodeCheck(version: string): Check {
  const finding = `Node ${version}`;
  if (Number.parseInt(version, 10) >= NEEDED_NODE) return { name: "node", result: "ok", finding, next: "" };
  return { name: "node", result: "failed", finding, next: `Install Node ${NEEDED_NODE} or newer, or run \`npm ci\`, which brings its own.` };
}

function dataCheck(config: Config): Check {
  const { dataDir } = config.store;
  let place = dataDir;
  while (!existsSync(place) && dirname(place) !== place) place = dirname(place);
  if (isWritableDirectory(place)) return { name: "data directory", result: "ok", finding: place === dataDir ? dataDir : `${dataDir} (will be made)`, next: "" };
  return { name: "data directory", result: "failed", finding: `${place} is no directory that can be written`, next: "Change its owner or permissions, or name another with --data-dir." };
}

function isWritableDirectory(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}

function moduleCheck(config: Config): Check {
  const { directory } = config.modules;
  const name = "modules";
  try {
    const count = readdirSync(directory).filter((file) => file.endsWith(".wasm")).length;
    if (count > 0) return { name, result: "ok", finding: `${count} in ${directory}`, next: "" };
    return { name, result: "warning", finding: `no .wasm file in ${directory}`, next: "Build the agents with `npm run build:agents`, or copy .wasm files there." };
  } catch {
    return { name, result: "warning", finding: `${directory} cannot be read`, next: "Make it, or name another with --modules." };
  }
}

/** The status a host reports at the address, or null when none answers. */
async function probe(invocation: Invocation, address: string): Promise<HealthStatus | null> {
  using client = new SirsiClient({ address, retries: 0 });
  try {
    const { health } = await client.agents.getSystemHealth({}, { deadlineMs: PROBE_MS, signal: invocation.signal });
    return health?.overallStatus ?? HealthStatus.UNSPECIFIED;
  } catch {
    return null;
  }
}

async function portCheck(invocation: Invocation, name: string, listen: ListenAddress, host?: HealthStatus | null): Promise<Check> {
  const address = formatAddress(listen);
  const problem = await listenProblem(listen);
  if (problem === null) return { name, result: "ok", finding: `${address} is free`, next: "" };
  const running = problem !== "EADDRINUSE" ? null : host === undefined ? await probe(invocation, address) : host;
  if (running !== null) return { name, result: "ok", finding: `${address} is in use while a host runs`, next: "" };
  const setting = name === "gRPC port" ? "--grpc-listen" : "--http-listen";
  return { name, result: "failed", finding: `${address}: ${problem}`, next: `Stop what uses it, or choose another with ${setting}; port 0 picks a free one.` };
}

/** The system's error code, or null when the address can be listened on. */
function listenProblem(listen: ListenAddress): Promise<string | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    server.listen(listen.port, listen.host, () => server.close(() => resolve(null)));
  });
}

function hostCheck(address: string, host: HealthStatus | null): Check {
  const name = "host";
  if (host === null) return { name, result: "warning", finding: `none answers at ${address}`, next: "Start one with `sirsi serve`, or say where it is with --address." };
  const finding = `${valueName(HealthStatusSchema, host)} at ${address}`;
  if (host === HealthStatus.HEALTHY) return { name, result: "ok", finding, next: "" };
  return { name, result: "warning", finding, next: "Look at `sirsi health` and at the host's log." };
}
