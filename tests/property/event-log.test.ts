import * as fc from "fast-check";
import { expect, it } from "vitest";
import { ManualClock } from "../../runtime/core/clock.ts";
import { silentLogger } from "../../runtime/observe/logger.ts";
import { EventLog } from "../../runtime/session/index.ts";

const SESSION = "0190f3c2-6b7e-7c31-8a51-3f0d5f0a9c11";

it("a follower from any kept sequence on sees every event once and in order, however publishing and reading interleave", async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 20 }), fc.nat({ max: 40 }), fc.nat({ max: 40 }), fc.array(fc.boolean(), { maxLength: 80 }), async (eventsKept, before, back, steps) => {
      const log = new EventLog({ bus: { publish: () => {}, hasSubscribers: () => false }, prefix: "p", clock: new ManualClock(), eventsKept, log: silentLogger, metrics: null });
      log.begin(SESSION);
      let published = 0;
      const publish = () => log.publish({ type: String(published++), sessionId: SESSION, sourceAgentId: "", targetAgentId: "", payload: null, topic: "", attributes: {}, traceparent: "" });
      const watcher = log.follow(SESSION, { types: [], fromSequence: 0n, live: true, signal: null });
      for (let n = 0; n < before; n++) publish();
      publish();
      const first = (await watcher.next()).value!.sequence;
      const begin = Math.max(0, published - Math.min(back + 1, eventsKept, published));
      const following = log.follow(SESSION, { types: [], fromSequence: first + BigInt(begin), live: true, signal: null });
      const seen: { type: string; sequence: bigint }[] = [];
      const read = async () => {
        const { value } = await following.next();
        seen.push({ type: value!.eventType, sequence: value!.sequence });
      };
      for (const step of steps) {
        if (step) publish();
        else if (begin + seen.length < published) await read();
      }
      while (begin + seen.length < published) await read();
      expect(seen.map(({ type }) => type)).toEqual(Array.from({ length: published - begin }, (_, n) => String(begin + n)));
      expect(seen.map(({ sequence }) => sequence)).toEqual(seen.map((_, n) => first + BigInt(begin + n)));
    }),
    { numRuns: 200 },
  );
});
