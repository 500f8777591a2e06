/** Which agents go first: those that were used last, of as many sessions as there are. */
import type { AgentView } from "../../agent/index.ts";
import type { AgentRecord, Store } from "../../store/store.ts";

export interface ChoiceHouse {
  residents(): Iterable<{ readonly id: string; readonly record: AgentRecord }>;
  /** At once for those in memory. */
  find(agentId: string): AgentView | null | Promise<AgentView | null>;
}

/** More are not compared with each other. */
const COMPARED_MAX = 2_000;

/** Agents of a module in memory that are not on `digest`: those used last first, those that are set aside last. */
export function lastUsedFirst(house: ChoiceHouse, module: string, digest: string): string[] {
  const ids: string[] = [];
  const used: { readonly id: string; readonly at: number }[] = [];
  for (const { id, record } of house.residents()) {
    if (record.module !== module || record.digest === digest) continue;
    const view = used.length < COMPARED_MAX ? house.find(id) : null;
    if (view === null || view instanceof Promise) ids.push(id);
    else used.push({ id, at: view.health === "unhealthy" ? 0 : view.counters.lastActivityAt });
  }
  return [...used.toSorted((a, b) => b.at - a.at).map(({ id }) => id), ...ids];
}

/** Agents to rehearse with: in memory first, of different sessions as far as there are any. */
export async function chooseToRehearse(house: ChoiceHouse, store: Pick<Store, "getAgent" | "listLiveAgents">, module: string, digest: string, wanted: number): Promise<AgentRecord[]> {
  if (wanted === 0) return [];
  const records: AgentRecord[] = [];
  for (const agentId of lastUsedFirst(house, module, digest).slice(0, wanted * 8)) {
    const stored = await store.getAgent(agentId);
    if (stored !== null) records.push(stored.record);
  }
  if (records.length < wanted) {
    const known = new Set(records.map(({ agentId }) => agentId));
    const asleep = await store.listLiveAgents({ sessionId: null, module, digest: null, parentAgentId: null }, "", wanted * 8);
    records.push(...asleep.map(({ record }) => record).filter(({ agentId }) => !known.has(agentId)));
  }
  const movable = records.filter((record) => record.digest !== digest && (record.state === "READY" || record.state === "BUSY"));
  const sessions = new Set<string>();
  const firsts = movable.filter(({ sessionId }) => !sessions.has(sessionId) && sessions.add(sessionId));
  return [...firsts, ...movable.filter((record) => !firsts.includes(record))].slice(0, wanted);
}
