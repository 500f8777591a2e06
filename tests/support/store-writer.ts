/**
 * A process made to be killed, or to have its disk filled: commits to many agents at
 * once, without end, and prints each sequence only after the store acknowledged it.
 * What the store refuses is printed as "refused <code>", with whether it still reads,
 * and tried again.
 * Arguments: the data directory, or the URL of a Postgres store, then the agents' ids.
 */
import { writeSync } from "node:fs";
import { systemClock } from "../../runtime/core/clock.ts";
import { openPostgresStore } from "../../runtime/store/postgres/index.ts";
import { openSqliteStore } from "../../runtime/store/sqlite/index.ts";
import { SirsiError } from "../../runtime/core/errors.ts";
import type { AgentCommit } from "../../runtime/store/store.ts";
import { agentCommit, agentCounters, exchangeRecord } from "./store-records.ts";

const [place = "", ...agentIds] = process.argv.slice(2);
const store = place.startsWith("postgres:") ? await openPostgresStore({ url: place, clock: systemClock }) : await openSqliteStore({ dataDir: place, clock: systemClock });

/** Every fourth state is whole; what it holds tells whose it is. */
function step(agentId: string, n: number): AgentCommit {
  return agentCommit(agentId, n, {
    causeId: `m-${n}`,
    state: { kind: n % 4 === 1 ? "base" : "difference", digest: "a".repeat(64), preparation: "p1", image: new Uint8Array(1_024).fill(n % 256) },
    exchange: exchangeRecord(n),
    counters: agentCounters(n),
    keepExchanges: 5,
    keepCommits: 6,
  });
}

async function committed(commit: AgentCommit): Promise<boolean> {
  try {
    await store.commit(commit);
    return true;
  } catch (thrown) {
    const reads = (await store.getAgent(commit.agentId)) === null ? "lost" : "reads";
    writeSync(1, `refused ${SirsiError.from(thrown).code} ${reads}\n`);
    return false;
  }
}

await Promise.all(agentIds.map(async (agentId) => {
  for (let n = ((await store.getAgent(agentId))?.commitSequence ?? 0) + 1; ; ) {
    if (!(await committed(step(agentId, n)))) continue;
    writeSync(1, `${agentId} ${n}\n`);
    n++;
  }
}));
