/** Proving the books from the store alone: AuditAgent and AuditHost. */
import { create } from "@bufbuild/protobuf";
import { AuditAgentResponseSchema, AuditHostResponseSchema, AuditSchema } from "../../contract/gen/sirsi/hypervisor/v1/hypervisor_service_pb.ts";
import type { Audit as AuditMessage } from "../../contract/gen/sirsi/hypervisor/v1/hypervisor_service_pb.ts";
import { FieldViolations } from "../../core/field-violations.ts";
import type { Audit, Store } from "../../store/store.ts";
import type { HypervisorServiceApi } from "../service-api.ts";
import { noSuchAgent, requireAgentId } from "./operator-deps.ts";

const FINDINGS_DEFAULT = 100;
const FINDINGS_MAX = 10_000;

export function auditCalls({ store }: { readonly store: Pick<Store, "auditAgent" | "auditHost"> }): Pick<HypervisorServiceApi, "auditAgent" | "auditHost"> {
  return {
    async auditAgent({ agentId }) {
      requireAgentId(agentId);
      const audit = await store.auditAgent(agentId);
      if (audit === null) throw noSuchAgent(agentId);
      return create(AuditAgentResponseSchema, { audit: auditMessage(audit) });
    },

    async auditHost({ maxFindings }) {
      const wrong = new FieldViolations();
      wrong.requireWithin(maxFindings, 0, FINDINGS_MAX, "max_findings", `0 for ${FINDINGS_DEFAULT}`);
      wrong.throwIfAny();
      const audit = await store.auditHost(maxFindings === 0 ? FINDINGS_DEFAULT : maxFindings);
      return create(AuditHostResponseSchema, { audit: auditMessage(audit) });
    },
  };
}

function auditMessage(audit: Audit): AuditMessage {
  const { agents, received, done, pending, deadLettered, outbox, timers, findings } = audit;
  return create(AuditSchema, {
    agents: BigInt(agents),
    received: BigInt(received),
    done: BigInt(done),
    pending: BigInt(pending),
    deadLettered: BigInt(deadLettered),
    outbox: BigInt(outbox),
    timers: BigInt(timers),
    findings: findings.map(({ agentId, check, explanation }) => ({ agentId, check, explanation })),
    balanced: findings.length === 0 && received === done + pending + deadLettered,
  });
}
