/** The audit of a whole host out of audits of some of its agents each. */
import type { Audit, AuditFinding } from "./store.ts";

/** The audit of some agents; `next` is where to go on, null at the end. */
export interface AuditPart {
  readonly audit: Audit;
  readonly next: string | null;
}

export type Sums = Omit<Audit, "findings">;

export const NO_SUMS: Sums = { agents: 0, received: 0, done: 0, deadLettered: 0, pending: 0, outbox: 0, timers: 0 };

export function sumOf(a: Sums, b: Sums): Sums {
  return {
    agents: a.agents + b.agents,
    received: a.received + b.received,
    done: a.done + b.done,
    deadLettered: a.deadLettered + b.deadLettered,
    pending: a.pending + b.pending,
    outbox: a.outbox + b.outbox,
    timers: a.timers + b.timers,
  };
}

/** Each agent's numbers are of one moment, so that the sums balance when all agents do; two agents' are not of the same moment. */
export async function auditInParts(findingsMax: number, part: (afterAgentId: string, findingsMax: number) => Promise<AuditPart>): Promise<Audit> {
  const findings: AuditFinding[] = [];
  let sum = NO_SUMS;
  for (let after: string | null = ""; after !== null; ) {
    const { audit, next }: AuditPart = await part(after, findingsMax - findings.length);
    sum = sumOf(sum, audit);
    findings.push(...audit.findings);
    after = next;
  }
  return { ...sum, findings };
}
