/**
 * The admission thread: one module at a time. It may hang, run out of memory or die
 * of a hostile file; the host (admission.ts) ends it then and starts another.
 */
import { parentPort, workerData } from "node:worker_threads";
import { systemClock } from "../core/clock.ts";
import { SirsiError } from "../core/errors.ts";
import { armFault } from "../core/fault-points.ts";
import { runPipeline, type AdmissionOutcome } from "./admission-pipeline.ts";
import type { AdmissionReply, AdmissionRequest, AdmissionThreadData } from "./admission-protocol.ts";
import type { prepare } from "./prepare.ts";
import { PreparedCache } from "./prepared-cache.ts";

/** Binaryen's own memory is outside of the thread's heap limit; a module that needs more is refused. */
const PREPARER_MEMORY_MAX_PAGES = (1024 * 1024 * 1024) / 65_536;
const COMPLAINT_MAX_CHARS = 300;

const port = parentPort;
if (port === null) throw new SirsiError("INTERNAL", "the admission thread was started as a program; it is started by openAdmission()");

const data = workerData as AdmissionThreadData;
armFault(data.fault);
const cache = new PreparedCache(data.cacheDir, data.cacheMaxBytes, systemClock);
const complaints: string[] = [];
let preparer: Promise<{ readonly prepare: typeof prepare }> | null = null;

/** Binaryen tells its reasons to the console alone, which it picks up while it loads. */
function loadPreparer() {
  preparer ??= (async () => {
    boundMemory();
    console.error = (...words: unknown[]) => void complaints.push(words.join(" "));
    console.log = console.error;
    return import("./prepare.ts");
  })();
  return preparer.then((loaded) => loaded.prepare);
}

function boundMemory(): void {
  const { prototype } = WebAssembly.Memory;
  // The original is called with its receiver below.
  // oxlint-disable-next-line typescript/unbound-method
  const grow = prototype.grow;
  prototype.grow = function (this: WebAssembly.Memory, pages: number): number {
    if (this.buffer.byteLength / 65_536 + pages > PREPARER_MEMORY_MAX_PAGES) throw new RangeError("the preparer may not have more memory");
    return grow.call(this, pages);
  };
}

function withComplaints(outcome: AdmissionOutcome): AdmissionOutcome {
  if (outcome.kind !== "rejected" || complaints.length === 0) return outcome;
  const said = complaints.join(" ").replaceAll(/\s+/g, " ").slice(0, COMPLAINT_MAX_CHARS);
  return { ...outcome, error: { ...outcome.error, message: `${outcome.error.message} [${said}]` } };
}

async function handle(request: AdmissionRequest): Promise<void> {
  complaints.length = 0;
  const tools = { policy: request.policy, moduleMaxBytes: data.moduleMaxBytes, cache, clock: systemClock, loadPreparer };
  const outcome = await runPipeline(request.bytes, request.options, tools);
  const spoilt = outcome.kind === "rejected" && (outcome.error.code === "INTERNAL" || outcome.error.details.metadata?.["stage"] === "prepare");
  reply({ kind: "done", id: request.id, outcome: withComplaints(outcome), preparerLoaded: preparer !== null, spoilt });
}

function reply(message: AdmissionReply): void {
  port?.postMessage(message);
}

// The host sends the next request after the reply to this one; a failure in handle() ends the thread and is told there.
port.on("message", (request: AdmissionRequest) => void handle(request));
reply({ kind: "ready" });
