/** The threads of the shards that this process has started, so that a test can end one as a crash would. */
import type { Worker } from "node:worker_threads";

const SHARD_NAME = /^sirsi-shard-(\d+)$/;
const threads: Worker[] = [];

process.on("worker", (worker: Worker) => {
  if (!SHARD_NAME.test(worker.threadName ?? "")) return;
  threads.push(worker);
});

/** Call it before the pool starts. */
export function watchShards(): void {
  threads.length = 0;
}

/** Ends the newest thread of a shard from outside. Resolves when it has ended. */
export async function killShard(index: number): Promise<void> {
  const worker = threads.findLast(({ threadName }) => threadName === `sirsi-shard-${index}`);
  await worker?.terminate();
}
