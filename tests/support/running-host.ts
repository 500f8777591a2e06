/** A real host on free ports with a temporary directory of its own, in the test's process or in one of its own. */
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SirsiClient } from "../../runtime/client/index.ts";
import { loadConfig } from "../../runtime/config/index.ts";
import { startHost } from "../../runtime/gateway/start-host.ts";
import { type HostEnd, type HostProcess, startHostProcess } from "../../scripts/host-process.ts";
import { builtAgent } from "./built-agents.ts";

export interface HostHome extends Disposable {
  readonly directory: string;
  readonly dataDir: string;
  readonly modulesDir: string;
}

/** A temporary directory with these agents of agents-as/ in its module directory. */
export async function hostHome(modules: readonly string[]): Promise<HostHome> {
  const directory = mkdtempSync(join(tmpdir(), "sirsi-host-"));
  const modulesDir = join(directory, "modules");
  mkdirSync(modulesDir);
  for (const name of modules) copyFileSync((await builtAgent(name)).file, join(modulesDir, `${name}.wasm`));
  return { directory, dataDir: join(directory, "data"), modulesDir, [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true }) };
}

export interface TestHostOptions {
  /** Agents of agents-as/. Default: echo and counter. */
  readonly modules?: readonly string[];
  /** Settings by environment name: SIRSI_… */
  readonly env?: Readonly<Record<string, string>>;
}

export interface TestHost extends AsyncDisposable {
  readonly home: HostHome;
  readonly grpcAddress: string;
  readonly httpAddress: string;
  readonly client: SirsiClient;
}

const DEFAULT_MODULES = ["echo", "counter"];

/** In the test's process. */
export async function runHost(options: TestHostOptions = {}): Promise<TestHost> {
  const home = await hostHome(options.modules ?? DEFAULT_MODULES);
  const flags = { "--data-dir": home.dataDir, "--modules": home.modulesDir, "--grpc-listen": "127.0.0.1:0", "--http-listen": "127.0.0.1:0" };
  const config = loadConfig({ flags, env: { SIRSI_LOG_LEVEL: "silent", SIRSI_GRPC_DRAIN_TIMEOUT_MS: "500", ...options.env }, cwd: home.directory });
  const host = await startHost(config, "0.0.0-test");
  const client = new SirsiClient({ address: host.grpcAddress });
  return {
    home,
    grpcAddress: host.grpcAddress,
    httpAddress: host.httpAddress,
    client,
    async [Symbol.asyncDispose]() {
      client.close();
      await host.close();
      home[Symbol.dispose]();
    },
  };
}

export interface TestHostProcess extends TestHost {
  readonly process: HostProcess;
  /** Ends the host by the signal and starts another one on the same directory. */
  restart(signal: "SIGTERM" | "SIGKILL"): Promise<HostEnd>;
}

/** In a process of its own, which can be killed. */
export async function runHostProcess(options: TestHostOptions = {}): Promise<TestHostProcess> {
  const home = await hostHome(options.modules ?? DEFAULT_MODULES);
  const start = () => startHostProcess({ cwd: home.directory, dataDir: home.dataDir, modulesDir: home.modulesDir, env: { SIRSI_LOG_LEVEL: "info", ...options.env } });
  let process = await start();
  let client = new SirsiClient({ address: process.grpcAddress });
  return {
    home,
    get process() {
      return process;
    },
    get grpcAddress() {
      return process.grpcAddress;
    },
    get httpAddress() {
      return process.httpAddress;
    },
    get client() {
      return client;
    },
    async restart(signal) {
      client.close();
      const end = await process.end(signal);
      process = await start();
      client = new SirsiClient({ address: process.grpcAddress });
      return end;
    },
    async [Symbol.asyncDispose]() {
      client.close();
      await process.end("SIGKILL");
      home[Symbol.dispose]();
    },
  };
}
