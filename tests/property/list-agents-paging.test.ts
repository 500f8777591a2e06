import { create } from "@bufbuild/protobuf";
import * as fc from "fast-check";
import { expect, it } from "vitest";
import { ListAgentsRequestSchema } from "../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { call, serviceBench } from "../support/service-bench.ts";

type Change = { readonly kind: "add"; readonly even: boolean; readonly waitMs: number } | { readonly kind: "end"; readonly which: number };

const change: fc.Arbitrary<Change> = fc.oneof(
  fc.record({ kind: fc.constant("add" as const), even: fc.boolean(), waitMs: fc.nat({ max: 2 }) }),
  fc.record({ kind: fc.constant("end" as const), which: fc.nat({ max: 1_000 }) }),
);

it("paging shows every agent that was there throughout exactly once, in order, while others come and go between pages", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(change, { maxLength: 30 }), fc.array(fc.array(change, { maxLength: 6 }), { maxLength: 30 }), fc.integer({ min: 1, max: 7 }), fc.boolean(), async (first, between, pageSize, filtered) => {
      const bench = await serviceBench();
      const { sessionId } = bench.session;
      const live: string[] = [];
      const everEnded = new Set<string>();
      const apply = (step: Change) => {
        if (step.kind === "add") {
          bench.clock.advance(step.waitMs);
          const { agentId } = bench.agents.put(bench.echo, { sessionId, metadata: { parity: step.even ? "even" : "odd" } }, { state: "READY" }).record;
          if (step.even || !filtered) live.push(agentId);
        } else if (live.length > 0) {
          const [ended] = live.splice(step.which % live.length, 1);
          bench.agents.change(ended!, { state: "TERMINATED" });
          everEnded.add(ended!);
        }
      };
      first.forEach(apply);
      const atStart = [...live];
      const seen: string[] = [];
      const filter = filtered ? 'metadata["parity"] == "even"' : "";
      let pageToken = "";
      for (let page = 0; ; page++) {
        const answer = await bench.service.listAgents(create(ListAgentsRequestSchema, { sessionId, pageSize, pageToken, filter }), call());
        expect(answer.totalSize).toBe(live.length);
        expect(answer.agents.length).toBeLessThanOrEqual(pageSize);
        seen.push(...answer.agents.map(({ agentId }) => agentId));
        pageToken = answer.nextPageToken;
        if (pageToken === "") break;
        (between[page] ?? []).forEach(apply);
      }
      await bench.sessions.close();
      expect(new Set(seen).size).toBe(seen.length);
      expect(seen).toEqual(seen.toSorted());
      const throughout = atStart.filter((agentId) => !everEnded.has(agentId));
      expect(seen.filter((agentId) => throughout.includes(agentId))).toEqual(throughout);
    }),
    { numRuns: 150 },
  );
});
