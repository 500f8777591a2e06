/** Looking back: ListCommits, InspectState and ForkAgent. */
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { CommitSchema, ForkAgentResponseSchema, InspectStateResponseSchema, ListCommitsResponseSchema } from "../../contract/gen/sirsi/hypervisor/v1/hypervisor_service_pb.ts";
import type { Commit, InspectStateResponse } from "../../contract/gen/sirsi/hypervisor/v1/hypervisor_service_pb.ts";
import { SirsiError } from "../../core/errors.ts";
import { FieldViolations } from "../../core/field-violations.ts";
import { lostError } from "../../sandbox/index.ts";
import type { CommitEntry } from "../../store/store.ts";
import { pageSize } from "../agent-service-deps.ts";
import type { HypervisorServiceApi } from "../service-api.ts";
import { AgentForks } from "./fork.ts";
import { type OperatorDeps, sequenceOf, storedAgent } from "./operator-deps.ts";
import { type Rebuilt, type Saved, saveOf, Scratch } from "./scratch.ts";

const PAGE_SIZE_DEFAULT = 50;
const NEWEST = "the newest";

type HistoryCalls = Pick<HypervisorServiceApi, "listCommits" | "inspectState" | "forkAgent">;

export function historyCalls(deps: OperatorDeps): HistoryCalls {
  const { store } = deps;
  const scratch = new Scratch(deps);
  const forks = new AgentForks(deps, scratch);
  return {
    async listCommits(request) {
      const wrong = new FieldViolations();
      wrong.requireId(request.agentId, "agent_id");
      const before = sequenceOf(request.beforeSequence, "before_sequence", NEWEST, wrong) ?? Infinity;
      const limit = pageSize(request.pageSize, PAGE_SIZE_DEFAULT, wrong);
      wrong.throwIfAny();
      const commits = await store.listCommits(request.agentId, before, limit);
      if (commits.length === 0) await storedAgent(store, request.agentId);
      return create(ListCommitsResponseSchema, { commits: commits.map(commitMessage) });
    },

    async inspectState({ agentId, atSequence }) {
      return await scratch.at(agentId, checkedPlace(agentId, atSequence), inspection);
    },

    async forkAgent({ agentId, atSequence }) {
      const record = await forks.fork(agentId, checkedPlace(agentId, atSequence));
      return create(ForkAgentResponseSchema, { agentId: record.agentId });
    },
  };
}

function checkedPlace(agentId: string, atSequence: bigint): number | null {
  const wrong = new FieldViolations();
  wrong.requireId(agentId, "agent_id");
  const sequence = sequenceOf(atSequence, "at_sequence", NEWEST, wrong);
  wrong.throwIfAny();
  return sequence;
}

function commitMessage(entry: CommitEntry): Commit {
  return create(CommitSchema, {
    sequence: BigInt(entry.commitSequence),
    cause: entry.cause,
    causeId: entry.causeId,
    committedAt: timestampFromMs(entry.committedAt),
    digest: entry.digest,
    stateKind: entry.kind,
    stateBytes: BigInt(entry.imageBytes),
  });
}

async function inspection(rebuilt: Rebuilt): Promise<InspectStateResponse> {
  const { chain, revision, handle, suspended } = rebuilt;
  const described = await handle.describe();
  if (described.kind === "failed") throw SirsiError.revive(described.error);
  if (described.kind === "lost") throw lostError(described);
  return create(InspectStateResponseSchema, {
    sequence: BigInt(chain.commitSequence),
    digest: chain.digest,
    moduleVersion: revision.manifest.version,
    memoryBytes: BigInt(described.memoryBytes),
    touched: described.touched.map(({ start, length }) => ({ start: BigInt(start), length: BigInt(length) })),
    globals: described.globals.map(({ name, type, value }) => ({ name, type, value })),
    suspended,
    ...(await savedPart(rebuilt)),
  });
}

async function savedPart(rebuilt: Rebuilt): Promise<{ readonly saved: Saved } | { readonly saveError: string }> {
  if (rebuilt.suspended) return { saveError: "the agent was in the middle of a wait, where it cannot be asked to save" };
  try {
    return { saved: await saveOf(rebuilt) };
  } catch (thrown) {
    const { code, message } = SirsiError.from(thrown);
    return { saveError: `${code}: ${message}` };
  }
}
