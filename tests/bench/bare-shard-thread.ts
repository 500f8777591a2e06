/** The inside of the baseline thread. */
import { parentPort, workerData } from "node:worker_threads";
import type { BareAsk } from "./bare-shard.ts";
import { stubImports } from "./stub-imports.ts";

const { compiled } = workerData as { compiled: WebAssembly.Module | null };
const imports = compiled === null ? {} : stubImports(compiled);
let instances: WebAssembly.Instance[] = [];

parentPort?.on("message", (ask: BareAsk) => {
  switch (ask.kind) {
    case "echo":
      parentPort?.postMessage(ask.bytes);
      return;
    case "batch":
      parentPort?.postMessage(ask.buffer, [ask.buffer]);
      return;
    case "instantiate":
      if (compiled !== null) instances.push(new WebAssembly.Instance(compiled, imports));
      parentPort?.postMessage(instances.length);
      return;
    case "forget":
      instances = [];
      parentPort?.postMessage(0);
  }
});
