/**
 * sirsi serve: runs a host until it is told to stop.
 *
 * The first SIGTERM or SIGINT drains it and ends with 0, also while it is still starting;
 * the second ends the process at once. The ready file is there from "ready" until the
 * drain begins.
 */
import { resolve } from "node:path";
import { Option } from "commander";
import type { Command } from "commander";
import { ModuleState, SirsiClient } from "../../client/index.ts";
import type { Module } from "../../client/index.ts";
import type { Config } from "../../config/index.ts";
import { addCommand } from "../command.ts";
import type { Shell } from "../command.ts";
import { agentTypeRows } from "../agent-types.ts";
import { EXIT } from "../exit-codes.ts";
import type { ExitCode } from "../exit-codes.ts";
import { hostOptions, loadHostConfig } from "../host-options.ts";
import type { HostOptions } from "../host-options.ts";
import type { Invocation } from "../invocation.ts";
import { DEFAULT_ADDRESS } from "../invocation.ts";
import { removeReadyFile, writeReadyFile } from "../ready-file.ts";
import { cell, fields, table } from "../text.ts";
import { commandName, packageVersion } from "../version.ts";

/** The part of a running host that the command needs. */
export interface ServedHost {
  /** host:port, as bound. */
  readonly grpcAddress: string;
  readonly httpAddress: string;
  /** Drains, then closes. */
  close(): Promise<void>;
  /** Settles when it has closed, however that came. */
  readonly closed: Promise<void>;
}

export type StartHost = (config: Config) => Promise<ServedHost>;

interface ServeOptions extends HostOptions {
  readonly readyFile?: string;
}

/** `loadHost` is asked only when the command runs, so that the others start fast. */
export function addServeCommand(program: Command, shell: Shell, loadHost: () => Promise<StartHost>): void {
  addCommand<ServeOptions>(program, shell, {
    usage: "serve",
    summary: "Run a host",
    more: "Ends with 0 after a drain when it gets SIGTERM or SIGINT; a second signal stops it at once.",
    options: [
      ...hostOptions(),
      new Option("--ready-file <path>", "JSON with grpc, http, pid and version, written once the host is ready and removed when it stops"),
    ],
    examples: ["serve", "serve --config sirsi.toml --log-level debug", "serve --fleet --host-name h1 --zone z1", "serve --grpc-listen 127.0.0.1:0 --http-listen 127.0.0.1:0 --ready-file /tmp/sirsi.json"],
    async run(invocation) {
      const config = loadHostConfig(invocation);
      for (const warning of config.warnings) invocation.note(`warning: ${warning}`);
      const startHost = await loadHost();
      const host = await startHost(config);
      const { readyFile } = invocation.options;
      return await serve(invocation, config, host, shell, readyFile === undefined ? null : resolve(invocation.terminal.cwd, readyFile));
    },
  });
}

async function serve(invocation: Invocation, config: Config, host: ServedHost, shell: Shell, readyFile: string | null): Promise<ExitCode> {
  let written = false;
  const withdraw = () => {
    if (readyFile !== null && written) removeReadyFile(readyFile);
    written = false;
  };
  shell.lastWill = withdraw;
  try {
    if (!invocation.signal.aborted) {
      if (readyFile !== null) {
        writeReadyFile(readyFile, { grpc: host.grpcAddress, http: host.httpAddress, pid: process.pid, version: packageVersion() });
        written = true;
      }
      await announce(invocation, config, host);
    }
    await Promise.race([aborted(invocation.signal), host.closed]);
    if (!invocation.signal.aborted) {
      invocation.note("the host has closed by itself; its log says why");
      return EXIT.failure;
    }
    invocation.note("draining; interrupt again to stop at once");
    return EXIT.ok;
  } finally {
    try {
      withdraw();
    } finally {
      await host.close();
    }
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

async function announce(invocation: Invocation, config: Config, host: ServedHost): Promise<void> {
  if (invocation.json) {
    invocation.write(`${JSON.stringify({ grpc: host.grpcAddress, http: host.httpAddress, pid: process.pid, version: packageVersion() })}\n`);
    return;
  }
  if (invocation.options.quiet === true) return;
  using client = new SirsiClient({ address: host.grpcAddress });
  const { modules } = await client.modules.listModules({});
  invocation.write(banner(config, host, modules));
}

function banner(config: Config, host: ServedHost, modules: readonly Module[]): string {
  const active = modules.filter((module) => module.state === ModuleState.ACTIVE);
  const failed = modules.filter((module) => module.state === ModuleState.FAILED);
  const parts = [
    `\nsirsi ${packageVersion()} is ready\n\n`,
    fields([
      ["  gRPC", host.grpcAddress],
      ["  HTTP", `http://${host.httpAddress}  (/metrics /healthz /readyz)`],
      ["  modules", `${config.modules.directory}${config.modules.watch ? "  (watched)" : ""}`],
      ["  data", config.store.dataDir],
      ...(config.fleet === null ? [] : [["  fleet", `as ${config.fleet.hostName}${config.fleet.zone === "" ? "" : `, in zone ${config.fleet.zone}`}`] as const]),
    ]),
    "\n",
    active.length === 0
      ? `no agents are ready; put a .wasm file into ${config.modules.directory}\n`
      : table(["AGENT TYPE", "VERSION", "NAME", "DESCRIPTION"], agentTypeRows(active)),
    ...failed.map((module) => `not ready: ${cell(module.name)}: ${cell(module.lastError)}\n`),
    nextCommands(host.grpcAddress, active),
  ];
  return parts.join("");
}

function nextCommands(address: string, active: readonly Module[]): string {
  const [first] = active;
  if (first === undefined) return "";
  const type = active.find((module) => module.name === "echo") ?? first;
  const sirsi = commandName();
  const steps = [
    ...(address === DEFAULT_ADDRESS ? [] : [`export SIRSI_ADDRESS=${address}`]),
    `${sirsi} session create`,
    `AGENT=$(${sirsi} agent create ${type.name} --quiet)`,
    `${sirsi} agent send $AGENT hello`,
  ];
  return `\ntry, in another terminal:\n${steps.map((step) => `  ${step}\n`).join("")}\n`;
}
