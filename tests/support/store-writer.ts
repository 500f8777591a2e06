/**
 * A process made to be killed: commits to many agents at once, without end, and
 * prints each sequence only after the store acknowledged it.
 * Arguments: the data directory, then the agents' ids.
 */
import { writeSync } from "node:fs";
import { systemClock } from "../../runtime/core/clock.ts";
import { openSqliteStore } from "../../runtime/store/sqlite/index.ts";
import { agentCommit, agentCounters, exchangeRecord } from "./store-records.ts";

const [dataDir = "", ...agentIds] = process.argv.slice(2);
const store = await openSqliteStore({ dataDir, clock: systemClock });

await Promise.all(agentIds.map(async (agentId) => {
  const stored = await store.getAgent(agentId);
  for (let n = (stored?.commitSequence ?? 0) + 1; ; n++) {
    const image = new Uint8Array(1_024).fill(n % 256);
    await store.commit(agentCommit(agentId, n, {
      checkpoint: { digest: "a".repeat(64), preparation: `step ${n}`, image },
      exchange: exchangeRecord(n),
      counters: agentCounters(n),
      keepExchanges: 5,
    }));
    writeSync(1, `${agentId} ${n}\n`);
  }
}));
