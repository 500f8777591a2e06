/** An admission thread that does what the module's fifth byte says: 1 hangs, 2 dies, 3 runs out of memory, 4 never gets ready again, else answers. */
import { parentPort } from "node:worker_threads";
import type { AdmissionRequest } from "../../runtime/module/admission-protocol.ts";

parentPort?.on("message", ({ id, bytes }: AdmissionRequest) => {
  switch (bytes[4]) {
    case 1:
      for (;;);
    case 2:
      process.exit(7);
    // falls through
    case 3: {
      const hoard: number[][] = [];
      for (;;) hoard.push(Array.from({ length: 1e5 }, (_, at) => at));
    }
    // falls through
    default:
      parentPort?.postMessage({
        kind: "done",
        id,
        outcome: { kind: "rejected", error: { code: "MODULE_REJECTED", message: "answered", details: {} }, digest: "", name: null, version: null },
        preparerLoaded: false,
        spoilt: bytes[4] === 5,
      });
  }
});
parentPort?.postMessage({ kind: "ready" });
