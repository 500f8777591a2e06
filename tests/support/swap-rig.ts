/** A whole host without transport, and the swaps of its modules. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { CreateAgentRequestSchema, CreateSessionRequestSchema, GetAgentStatusRequestSchema, MessageSchema, MessageType, SendMessageRequestSchema } from "../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import {
  GetModuleRequestSchema,
  InstallModuleRequestSchema,
  ListSwapsRequestSchema,
  ReloadModuleRequestSchema,
  RollbackModuleRequestSchema,
  type Swap,
  SwapOptionsSchema,
  type SwapState,
  type SwapSummary,
} from "../../runtime/contract/gen/sirsi/hypervisor/v1/hypervisor_service_pb.ts";
import { loadConfig } from "../../runtime/config/index.ts";
import { newId } from "../../runtime/core/ids.ts";
import { systemClock } from "../../runtime/core/clock.ts";
import { type Host, openHost } from "../../runtime/hypervisor/host.ts";
import { builtFixture } from "./built-agents.ts";
import { revised } from "./revised.ts";
import { call } from "./service-bench.ts";
import { sharedCache } from "./shared-cache.ts";
import type { ManifestFields } from "./wat.ts";

export interface SwapOptionsInit {
  readonly canaryPercent?: number;
  readonly watchMs?: number;
  readonly dryRun?: boolean;
}

const MODULE = "mischief";

/** A revision of the fixture "mischief"; `moments` are commands that it obeys in init, save and load. */
export async function mischief(version: string, moments: Readonly<Record<string, string>> = {}, changes: ManifestFields = {}): Promise<Uint8Array> {
  const bytes = readFileSync((await builtFixture(MODULE)).file);
  return revised(bytes, { version, defaultConfig: moments, limits: { fuelPerStep: 20_000_000 }, ...changes });
}

export class SwapRig implements AsyncDisposable {
  readonly home: string;
  readonly modulesDir: string;
  readonly #settings: Readonly<Record<string, string>>;
  #host: Host | null = null;
  #sessionId = "";

  private constructor(home: string, settings: Readonly<Record<string, string>>) {
    this.home = home;
    this.modulesDir = join(home, "modules");
    this.#settings = settings;
  }

  /** With these bytes in the module directory. */
  static async open(files: Readonly<Record<string, Uint8Array>>, settings: Readonly<Record<string, string>> = {}): Promise<SwapRig> {
    const home = mkdtempSync(join(tmpdir(), "sirsi-swap-"));
    const rig = new SwapRig(home, { SIRSI_LOG_LEVEL: "silent", SIRSI_SWAP_WATCH_MS: "400", SIRSI_SHARDS_COUNT: "1", ...settings });
    mkdirSync(rig.modulesDir);
    mkdirSync(join(home, "data"));
    symlinkSync(sharedCache(), join(home, "data", "cache"));
    for (const [name, bytes] of Object.entries(files)) rig.drop(name, bytes);
    await rig.start();
    rig.#sessionId = await rig.session();
    return rig;
  }

  get host(): Host {
    return this.#host!;
  }

  async start(): Promise<void> {
    const flags = { "--data-dir": join(this.home, "data"), "--modules": this.modulesDir };
    this.#host = await openHost(loadConfig({ flags, env: this.#settings, cwd: this.home }));
  }

  async stop(): Promise<void> {
    const host = this.#host;
    this.#host = null;
    await host?.drain(1_000);
    await host?.close();
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  drop(name: string, bytes: Uint8Array): void {
    writeFileSync(join(this.modulesDir, `${name}.wasm`), bytes);
  }

  // --- agents --------------------------------------------------------------------------

  async session(): Promise<string> {
    const { session } = await this.host.agentService.createSession(create(CreateSessionRequestSchema, { userId: "u", config: { maxAgents: 1_000 } }), call());
    return session!.sessionId;
  }

  async spawn(agentType = MODULE, parameters: Record<string, string> = {}, sessionId = this.#sessionId): Promise<string> {
    const { agent } = await this.host.agentService.createAgent(create(CreateAgentRequestSchema, { sessionId, agentType, config: { parameters } }), call());
    return agent!.agentId;
  }

  async say(agentId: string, content: string, messageId = newId(systemClock.now())): Promise<string> {
    const message = create(MessageSchema, { messageId, content, type: MessageType.TEXT });
    for (;;) {
      try {
        const { response } = await this.host.agentService.sendMessage(create(SendMessageRequestSchema, { sessionId: this.#sessionId, agentId, message }), call());
        return response!.content;
      } catch (thrown) {
        // It was leaving memory: the error says to send again.
        if ((thrown as { readonly code: string }).code !== "AGENT_FENCED") throw thrown;
      }
    }
  }

  /** What it said, or the code of the error. */
  async hear(agentId: string, content: string): Promise<string> {
    try {
      return await this.say(agentId, content);
    } catch (thrown) {
      return (thrown as { readonly code: string }).code;
    }
  }

  async status(agentId: string) {
    return await this.host.agentService.getAgentStatus(create(GetAgentStatusRequestSchema, { sessionId: this.#sessionId, agentId }), call());
  }

  // --- modules -------------------------------------------------------------------------

  async install(wasm: Uint8Array, options: SwapOptionsInit = {}): Promise<SwapSummary> {
    return (await this.host.hypervisorService.installModule(create(InstallModuleRequestSchema, { wasm, swap: optionsOf(options) }), call())).swap!;
  }

  async reload(options: SwapOptionsInit = {}): Promise<SwapSummary> {
    return (await this.host.hypervisorService.reloadModule(create(ReloadModuleRequestSchema, { name: MODULE, swap: optionsOf(options) }), call())).swap!;
  }

  async rollback(options: SwapOptionsInit = {}): Promise<SwapSummary> {
    return (await this.host.hypervisorService.rollbackModule(create(RollbackModuleRequestSchema, { name: MODULE, swap: optionsOf(options) }), call())).swap!;
  }

  /** Newest first. */
  async swaps(module = ""): Promise<Swap[]> {
    return (await this.host.hypervisorService.listSwaps(create(ListSwapsRequestSchema, { module }), call())).swaps;
  }

  async module(name = MODULE) {
    return (await this.host.hypervisorService.getModule(create(GetModuleRequestSchema, { name }), call())).module!;
  }

  /** Live agents by the version of their revision. */
  async peopled(name = MODULE): Promise<Record<string, number>> {
    const { revisions } = await this.module(name);
    return Object.fromEntries(revisions.filter(({ liveAgents }) => liveAgents > 0).map(({ version, liveAgents }) => [version, liveAgents]));
  }

  /** Resolves when the module's newest swap has come to this state. */
  async until(...states: SwapState[]): Promise<Swap> {
    for (;;) {
      const [newest] = await this.swaps();
      if (newest !== undefined && states.includes(newest.state)) return newest;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    rmSync(this.home, { recursive: true, force: true });
  }
}

function optionsOf({ canaryPercent = 0, watchMs, dryRun = false }: SwapOptionsInit) {
  return create(SwapOptionsSchema, { canaryPercent, dryRun, ...(watchMs === undefined ? {} : { watchMs: BigInt(watchMs) }) });
}
