/** Modules and their revisions as the messages of the contract. */
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { ModuleSchema, ModuleState, RevisionSchema, RevisionState } from "../contract/gen/sirsi/hypervisor/v1/hypervisor_service_pb.ts";
import type { Module, Revision as RevisionMessage } from "../contract/gen/sirsi/hypervisor/v1/hypervisor_service_pb.ts";
import type { ModuleStateName, ModuleView, Revision, RevisionView } from "../module/index.ts";
import type { RevisionStateName } from "../store/store.ts";

const MODULE_STATES: Readonly<Record<ModuleStateName, ModuleState>> = {
  ACTIVE: ModuleState.ACTIVE,
  RETIRED: ModuleState.RETIRED,
  FAILED: ModuleState.FAILED,
};

const REVISION_STATES: Readonly<Record<RevisionStateName, RevisionState>> = {
  ACTIVE: RevisionState.ACTIVE,
  SUPERSEDED: RevisionState.SUPERSEDED,
  REJECTED: RevisionState.REJECTED,
  PENDING_APPROVAL: RevisionState.PENDING_APPROVAL,
};

/** Live agents by the digest of their revision. */
export type LiveAgents = ReadonlyMap<string, number>;

export function moduleMessage(view: ModuleView, live: LiveAgents): Module {
  const active = view.revisions.find(({ record }) => record.digest === view.active?.digest);
  return create(ModuleSchema, {
    name: view.name,
    state: MODULE_STATES[view.state],
    ...(active === undefined ? {} : { active: revisionMessage(active, live) }),
    revisions: view.revisions.map((revision) => revisionMessage(revision, live)),
    liveAgents: [...live.values()].reduce((sum, count) => sum + count, 0),
    lastError: view.lastError === null ? "" : `${view.lastError.code}: ${view.lastError.message}`,
    file: view.file,
  });
}

export function revisionMessage({ record, revision }: RevisionView, live: LiveAgents): RevisionMessage {
  const message = revision === null ? create(RevisionSchema) : preparedMessage(revision);
  message.digest = record.digest;
  message.module = record.module;
  message.version = record.version;
  message.state = REVISION_STATES[record.state];
  message.reason = record.reason;
  message.sizeBytes = BigInt(record.sizeBytes);
  message.installedAt = timestampFromMs(record.installedAt);
  message.liveAgents = live.get(record.digest) ?? 0;
  return message;
}

/** Of a revision that was admitted, whether or not it is installed; its state is left open. */
export function preparedMessage(revision: Revision): RevisionMessage {
  return create(RevisionSchema, {
    digest: revision.digest,
    module: revision.manifest.name,
    version: revision.manifest.version,
    sizeBytes: BigInt(revision.sizeBytes),
    preparedSizeBytes: BigInt(revision.preparedSizeBytes),
    manifestJson: JSON.stringify(revision.manifest),
    prepareTimeMs: revision.prepareTimeMs,
    imports: [...revision.imports],
    exports: [...revision.exports],
    uncapturable: revision.uncapturable,
  });
}
