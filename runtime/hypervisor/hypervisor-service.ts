/** HypervisorService without a transport: the calls about modules here, the other operator's calls in operator/. */
import { create } from "@bufbuild/protobuf";
import type { SwapReport } from "../agent/agents.ts";
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
import type { InstallOutcome, ModuleRegistry, Revision, TakeOutcome } from "../module/index.ts";
import type { AgentTypes } from "./agent-service-deps.ts";
import type { LiveAgents } from "./module-message.ts";
import { moduleMessage, preparedMessage, swapMessage } from "./module-message.ts";
import { operatorCalls } from "./operator/operator-calls.ts";
import type { OperatorDeps } from "./operator/operator-deps.ts";
import type { HypervisorServiceApi } from "./service-api.ts";

/** What the services need of the module registry. */
export type ModuleOperations = Pick<ModuleRegistry, "list" | "get" | "install" | "reload" | "rollback" | "remove" | "resolve">;

export interface HypervisorServiceDeps {
  readonly modules: ModuleOperations;
  readonly liveAgents: (module: string) => LiveAgents;
  /** Moves a module's live agents to its active revision; resolves when all were tried. */
  readonly swapAgents: (module: string, toDigest: string) => Promise<SwapReport>;
  /** D6: commits from one base to the next. */
  readonly baseEvery: number;
  readonly operator: OperatorDeps;
}

const NAME_MAX_CHARS = 256;
const DIGEST = /^(?:[0-9a-f]{8,64})?$/;
const NOTHING_TO_SWAP: SwapReport = { moved: 0, kept: 0, failed: 0, failureReason: "" };

export function createHypervisorService(deps: HypervisorServiceDeps): HypervisorServiceApi {
  const { modules } = deps;
  const messageOf = (name: string): Module => moduleMessage(modules.get(name), deps.liveAgents(name));
  return {
    ...operatorCalls(deps.operator),

    listModules() {
      const views = modules.list().toSorted((a, b) => (a.name < b.name ? -1 : 1));
      return Promise.resolve(create(ListModulesResponseSchema, { modules: views.map((view) => moduleMessage(view, deps.liveAgents(view.name))) }));
    },

    async getModule({ name }) {
      const module = messageOf(requireName(name));
      return create(GetModuleResponseSchema, { module, recoveryDifferences: recoveryDifferences(modules.get(name).active, deps.baseEvery) });
    },

    async installModule({ wasm, validateOnly }) {
      const wrong = new FieldViolations();
      wrong.require(wasm.length > 0, "wasm", "must be set: the bytes of a .wasm file");
      wrong.throwIfAny();
      const outcome = await modules.install(wasm, { validateOnly });
      const swap = await swapAfter(deps, outcome);
      const known = modules.list().some(({ name }) => name === outcome.module);
      const module = known ? messageOf(outcome.module) : undefined;
      return create(InstallModuleResponseSchema, {
        ...(module === undefined ? {} : { module }),
        revision: installedRevision(outcome, module),
        ...(validateOnly ? {} : { swap: swapMessage(swap) }),
      });
    },

    async reloadModule({ name }) {
      const outcome = await modules.reload(requireName(name));
      const swap = await swapAfter(deps, outcome);
      return create(ReloadModuleResponseSchema, { module: messageOf(name), swap: swapMessage(swap) });
    },

    async rollbackModule({ name, digest }) {
      requireName(name);
      const wrong = new FieldViolations();
      wrong.require(DIGEST.test(digest), "digest", "must be empty, or 8 to 64 lower-case hex digits of a revision's SHA-256");
      wrong.throwIfAny();
      const outcome = await modules.rollback(name, digest === "" ? null : digest);
      const swap = await swapAfter(deps, outcome);
      return create(RollbackModuleResponseSchema, { module: messageOf(name), swap: swapMessage(swap) });
    },

    async removeModule({ name }) {
      const view = await modules.remove(requireName(name));
      return create(RemoveModuleResponseSchema, { module: moduleMessage(view, deps.liveAgents(name)) });
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

async function swapAfter(deps: HypervisorServiceDeps, outcome: InstallOutcome | TakeOutcome): Promise<SwapReport> {
  return outcome.kind === "activated" ? await deps.swapAgents(outcome.module, outcome.to.digest) : NOTHING_TO_SWAP;
}

/** As the registry shows it when it took it; of a file that was only looked at, what admission says of it. */
function installedRevision(outcome: InstallOutcome, module: Module | undefined): RevisionMessage {
  const digest = outcome.kind === "pending" ? outcome.digest : outcome.kind === "activated" ? outcome.to.digest : outcome.revision.digest;
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
  return preparedMessage(outcome.kind === "activated" ? outcome.to : outcome.revision);
}
