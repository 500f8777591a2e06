/** HypervisorService without a transport: the calls about modules here, the other operator's calls in operator/. */
import { create } from "@bufbuild/protobuf";
import type { Config } from "../config/index.ts";
import {
  GetModuleResponseSchema,
  InstallModuleResponseSchema,
  ListModulesResponseSchema,
  ReloadModuleResponseSchema,
  RemoveModuleResponseSchema,
  RevisionSchema,
  RevisionState,
  RollbackModuleResponseSchema,
} from "../contract/gen/sirsi/hypervisor/v1/hypervisor_service_pb.ts";
import type { Module, Revision as RevisionMessage } from "../contract/gen/sirsi/hypervisor/v1/hypervisor_service_pb.ts";
import { FieldViolations } from "../core/field-violations.ts";
import type { InstallOutcome, ModuleRegistry, Revision } from "../module/index.ts";
import type { FleetOperator } from "../fleet/fleet-operator.ts";
import type { Store } from "../store/store.ts";
import type { AgentTypes } from "./agent-service-deps.ts";
import type { LiveAgents } from "./module-message.ts";
import { moduleMessage, preparedMessage } from "./module-message.ts";
import { hostCalls } from "./operator/host-calls.ts";
import { operatorCalls } from "./operator/operator-calls.ts";
import type { OperatorDeps } from "./operator/operator-deps.ts";
import type { HypervisorServiceApi } from "./service-api.ts";
import { listSwaps, readSwapOptions, swapAfter } from "./swap/swap-calls.ts";
import type { Swaps } from "./swap/swaps.ts";

/** What the services need of the module registry. */
export type ModuleOperations = Pick<ModuleRegistry, "list" | "get" | "install" | "reload" | "rollback" | "remove" | "resolve">;

export interface HypervisorServiceDeps {
  readonly modules: ModuleOperations;
  /** Asleep ones too. */
  readonly liveAgents: (module: string) => Promise<LiveAgents>;
  readonly swaps: Pick<Swaps, "perform" | "dryRun">;
  readonly swapDefaults: Config["swap"];
  /** In a fleet: what happens on the other hosts after a change here; empty for nothing. */
  readonly otherHosts?: () => string;
  readonly store: Pick<Store, "listSwaps">;
  /** D6: commits from one base to the next. */
  readonly baseEvery: number;
  readonly operator: OperatorDeps;
  readonly fleet: FleetOperator;
}

const NAME_MAX_CHARS = 256;
const DIGEST = /^(?:[0-9a-f]{8,64})?$/;

export function createHypervisorService(deps: HypervisorServiceDeps): HypervisorServiceApi {
  const { modules, swaps } = deps;
  const messageOf = async (name: string): Promise<Module> => moduleMessage(modules.get(name), await deps.liveAgents(name));
  return {
    ...operatorCalls(deps.operator),
    ...hostCalls(deps.fleet),
    listSwaps: listSwaps(deps.store),

    async listModules() {
      const views = modules.list().toSorted((a, b) => (a.name < b.name ? -1 : 1));
      return create(ListModulesResponseSchema, { modules: await Promise.all(views.map(async (view) => moduleMessage(view, await deps.liveAgents(view.name)))) });
    },

    async getModule({ name }) {
      const module = await messageOf(requireName(name));
      return create(GetModuleResponseSchema, { module, recoveryDifferences: recoveryDifferences(modules.get(name).active, deps.baseEvery) });
    },

    async installModule({ wasm, validateOnly, swap }) {
      const wrong = new FieldViolations();
      wrong.require(wasm.length > 0, "wasm", "must be set: the bytes of a .wasm file");
      wrong.throwIfAny();
      const options = readSwapOptions(swap, deps.swapDefaults);
      const outcome = await modules.install(wasm, { validateOnly: validateOnly || options.dryRun });
      const summary = validateOnly ? undefined : await swapAfter(swaps, outcome, options, deps.otherHosts);
      const known = modules.list().some(({ name }) => name === outcome.module);
      const module = known ? await messageOf(outcome.module) : undefined;
      return create(InstallModuleResponseSchema, {
        ...(module === undefined ? {} : { module }),
        revision: installedRevision(outcome, module),
        ...(summary === undefined ? {} : { swap: summary }),
      });
    },

    async reloadModule({ name, swap }) {
      const options = readSwapOptions(swap, deps.swapDefaults);
      const outcome = await modules.reload(requireName(name), { validateOnly: options.dryRun });
      const summary = await swapAfter(swaps, outcome, options, deps.otherHosts);
      return create(ReloadModuleResponseSchema, { module: await messageOf(name), swap: summary });
    },

    async rollbackModule({ name, digest, swap }) {
      requireName(name);
      const wrong = new FieldViolations();
      wrong.require(DIGEST.test(digest), "digest", "must be empty, or 8 to 64 lower-case hex digits of a revision's SHA-256");
      wrong.throwIfAny();
      const options = readSwapOptions(swap, deps.swapDefaults);
      const outcome = await modules.rollback(name, digest === "" ? null : digest, { validateOnly: options.dryRun });
      const summary = await swapAfter(swaps, outcome, options, deps.otherHosts);
      return create(RollbackModuleResponseSchema, { module: await messageOf(name), swap: summary });
    },

    async removeModule({ name }) {
      const view = await modules.remove(requireName(name));
      return create(RemoveModuleResponseSchema, { module: moduleMessage(view, await deps.liveAgents(name)) });
    },
  };
}

/** The differences that lie on one base at most; 0 when nothing is written. */
function recoveryDifferences(active: Revision | null, baseEvery: number): number {
  return active === null || active.manifest.durability === "none" ? 0 : baseEvery - 1;
}

/** The agent types of a registry, by name. */
export function agentTypesOf(modules: Pick<ModuleRegistry, "list" | "resolve">): AgentTypes {
  return {
    available: () =>
      modules
        .list()
        .flatMap(({ active }) => (active === null ? [] : [active.manifest]))
        .toSorted((a, b) => (a.name < b.name ? -1 : 1)),
    resolve: (agentType) => modules.resolve(agentType),
  };
}

function requireName(name: string): string {
  const wrong = new FieldViolations();
  if (name === "") wrong.add("name", "must be set: a module's name");
  else wrong.require(name.length <= NAME_MAX_CHARS, "name", `may have ${NAME_MAX_CHARS} characters; got ${name.length}`);
  wrong.throwIfAny();
  return name;
}

/** As the registry shows it when it took it; of a file that was only looked at, or is not taken yet, what admission says of it. */
function installedRevision(outcome: InstallOutcome, module: Module | undefined): RevisionMessage {
  const digest = digestOf(outcome);
  const shown = module?.revisions.find((revision) => revision.digest === digest);
  if (shown !== undefined) return shown;
  if (outcome.kind === "pending") {
    return create(RevisionSchema, {
      digest,
      module: outcome.module,
      version: outcome.manifest.version,
      state: RevisionState.PENDING_APPROVAL,
      reason: outcome.error.message,
      manifestJson: JSON.stringify(outcome.manifest),
    });
  }
  return preparedMessage("to" in outcome ? outcome.to : outcome.revision);
}

function digestOf(outcome: InstallOutcome): string {
  if (outcome.kind === "pending") return outcome.digest;
  return "to" in outcome ? outcome.to.digest : outcome.revision.digest;
}
