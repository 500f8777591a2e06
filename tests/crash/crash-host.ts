/**
 * The host that is killed: a process of its own that arms one fault point in itself and then
 * serves. Its one argument is JSON, HostOrders; one line of JSON on standard output says that
 * it is ready, as `sirsi serve` does.
 */
import { argv, exit, stderr, stdout } from "node:process";
import { loadConfig } from "../../runtime/config/index.ts";
import { type Fault, armFault } from "../../runtime/core/fault-points.ts";
import { startHost } from "../../runtime/gateway/start-host.ts";

export interface HostOrders {
  readonly dataDir: string;
  readonly modulesDir: string;
  readonly fault: Fault | null;
  /** Settings by environment name. */
  readonly settings: Readonly<Record<string, string>>;
}

export interface HostReady {
  readonly grpc: string;
}

async function main(text: string): Promise<void> {
  const orders = JSON.parse(text) as HostOrders;
  // Before anything is opened: threads are armed by who starts them.
  armFault(orders.fault);
  const flags = { "--data-dir": orders.dataDir, "--modules": orders.modulesDir, "--grpc-listen": "127.0.0.1:0", "--http-listen": "127.0.0.1:0" };
  const host = await startHost(loadConfig({ flags, env: orders.settings, cwd: orders.dataDir }), "0.0.0-crash");
  stdout.write(`${JSON.stringify({ grpc: host.grpcAddress } satisfies HostReady)}\n`);
  // Nobody is left to kill it once the harness is gone.
  process.stdin.resume().once("end", () => exit(3));
  await host.closed;
}

try {
  await main(argv[2] ?? "");
} catch (thrown) {
  stderr.write(`the host did not start: ${thrown instanceof Error ? thrown.stack : String(thrown)}\n`);
  exit(1);
}
