/**
 * CPU time by thread, of any process, from outside it: what a message costs each
 * thread, whatever else the machine does. Linux only; elsewhere nothing is told.
 */
import { readdirSync, readFileSync } from "node:fs";

/** Nanoseconds on a CPU so far, by the thread's name; the collector's, compiler's and I/O threads together as `rest`. */
export type ThreadUse = Readonly<Record<string, number>>;

const NAMES: Readonly<Record<string, string>> = { "node-MainThread": "main", MainThread: "main", node: "main" };

export function threadUse(pid: number): ThreadUse | null {
  let threads: string[];
  try {
    threads = readdirSync(`/proc/${pid}/task`);
  } catch {
    return null;
  }
  const use: Record<string, number> = {};
  for (const thread of threads) {
    try {
      const called = readFileSync(`/proc/${pid}/task/${thread}/comm`, "utf8").trim();
      const [onCpu] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ");
      const name = NAMES[called] ?? (called.startsWith("sirsi-") || called.startsWith("bench-") ? called : "rest");
      use[name] = (use[name] ?? 0) + Number(onCpu);
    } catch {
      // The thread ended while we looked.
    }
  }
  return use;
}

/** Microseconds of each thread between two looks, for one of `count` things. Empty when the system does not tell. */
export function usePerItem(before: ThreadUse | null, after: ThreadUse | null, count: number): Readonly<Record<string, number>> {
  if (before === null || after === null || count === 0) return {};
  return Object.fromEntries(Object.keys(after).map((name) => [name, ((after[name] ?? 0) - (before[name] ?? 0)) / 1000 / count]));
}
