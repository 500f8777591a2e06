/** The operator's calls that are about agents: books, history, dead letters, quarantine. */
import { create } from "@bufbuild/protobuf";
import { ReleaseAgentResponseSchema } from "../../contract/gen/sirsi/hypervisor/v1/hypervisor_service_pb.ts";
import type { HypervisorServiceApi } from "../service-api.ts";
import { auditCalls } from "./audit-calls.ts";
import { deadLetterCalls } from "./dead-letter-calls.ts";
import { historyCalls } from "./history-calls.ts";
import { type OperatorDeps, requireAgentId } from "./operator-deps.ts";

export type OperatorCalls = ReturnType<typeof auditCalls> & ReturnType<typeof historyCalls> & ReturnType<typeof deadLetterCalls> & Pick<HypervisorServiceApi, "releaseAgent">;

export function operatorCalls(deps: OperatorDeps): OperatorCalls {
  return {
    ...auditCalls(deps),
    ...historyCalls(deps),
    ...deadLetterCalls(deps),

    async releaseAgent({ agentId }) {
      requireAgentId(agentId);
      await deps.agents.release(agentId);
      return create(ReleaseAgentResponseSchema);
    },
  };
}
