import { beforeEach, expect, it } from "vitest";
import { SupervisionTree } from "../../../runtime/agent/supervision-tree.ts";
import { SirsiError } from "../../../runtime/core/errors.ts";
import type { SupervisionStrategy } from "../../../runtime/module/revision.ts";
import { silentLogger } from "../../../runtime/observe/index.ts";
import type { AgentQuery, AgentRecord, StoredAgent } from "../../../runtime/store/store.ts";

let strategy: SupervisionStrategy | null;
let restarted: string[];
let asleep: Set<string>;
let fault: SirsiError | null;
let agents: { readonly agentId: string; readonly parentAgentId: string | null }[];
beforeEach(() => {
  strategy = "rest_for_one";
  restarted = [];
  asleep = new Set();
  fault = null;
  agents = ["1", "2", "3", "4"].map((agentId) => ({ agentId, parentAgentId: "parent" }));
  agents.push({ agentId: "5", parentAgentId: "another" });
});

function fail(id: string, parentAgentId: string | null = "parent"): Promise<void> {
  const tree = new SupervisionTree({
    store: {
      listLiveAgents: ({ parentAgentId: parent }: AgentQuery, after: string, limit: number) =>
        fault === null ? Promise.resolve(agents.filter((one) => one.parentAgentId === parent && one.agentId > after).slice(0, limit).map((record) => ({ record }) as StoredAgent)) : Promise.reject(fault),
    },
    strategyOf: () => Promise.resolve(strategy),
    resident: (agentId) => (asleep.has(agentId) ? null : { restart: () => Promise.resolve(void restarted.push(agentId)) }),
    log: silentLogger,
  });
  return tree.restarted({ id, record: { agentId: id, parentAgentId } as AgentRecord });
}

it("rest_for_one restarts the siblings that were spawned later and are in memory", async () => {
  asleep.add("4");
  agents.push(...Array.from({ length: 1_200 }, (_, n) => ({ agentId: `6-${String(n).padStart(4, "0")}`, parentAgentId: "parent" })));
  await fail("2");
  expect(restarted.slice(0, 2)).toEqual(["3", "6-0000"]);
  expect(restarted).toHaveLength(1_201);
});

it.each([["one_for_one" as const], [null]])("with %s nobody else is restarted", async (said) => {
  strategy = said;
  await fail("1");
  expect(restarted).toEqual([]);
});

it("an agent without a parent has no siblings, and a store that cannot tell harms nobody", async () => {
  await fail("1", null);
  fault = new SirsiError("STORE_UNAVAILABLE", "no");
  await fail("1");
  expect(restarted).toEqual([]);
});
