/**
 * The inside of a shard: a thread that holds instances and runs one step at a time,
 * in the order the steps came. It never waits: a guest that waits is unwound and
 * answered as `waiting`. It holds no timers and does no I/O.
 */
import { randomFillSync } from "node:crypto";
import { parentPort, workerData } from "node:worker_threads";
import { systemClock } from "../core/clock.ts";
import { SirsiError } from "../core/errors.ts";
import { FrameReader, FrameWriter } from "./frames.ts";
import { isStackOverflow } from "./fault.ts";
import { GuestInstance, type StepOutcome } from "./instance.ts";
import { type GuestHost, LoadedRevision } from "./loaded-revision.ts";
import { type Command, COUNTERS, type FromShard, type OpenOutcome, readCommand, type ToShard, writeAnswer } from "./shard-protocol.ts";

/** Answers wait for the rest of their batch at most this long. */
const FLUSH_AFTER_MS = 1;

if (parentPort === null) throw new SirsiError("INTERNAL", "shard-thread.ts only runs as a worker thread");
const port = parentPort;
const counters = new Int32Array((workerData as { counters: SharedArrayBuffer }).counters);

const revisions = new Map<number, LoadedRevision>();
const instances = new Map<number, GuestInstance>();
const idOf = new WeakMap<object, number>();
const answers = new FrameWriter();
let lastFlush = 0;

function post(message: FromShard, transfer: ArrayBuffer[] = []): void {
  port.postMessage(message, transfer);
}

function flush(): void {
  lastFlush = systemClock.monotonic();
  if (answers.length === 0) return;
  const length = answers.length;
  const buffer = answers.take();
  post({ kind: "batch", buffer, length }, [buffer]);
}

const host: GuestHost = {
  now: () => systemClock.now(),
  monotonic: () => systemClock.monotonic(),
  random: (into) => void randomFillSync(into),
  log: (instance, level, line) => post({ kind: "log", instanceId: idOf.get(instance) ?? 0, level, line }),
  heartbeat: () => void Atomics.add(counters, COUNTERS.heartbeat, 1),
};

function open(command: Extract<Command, { kind: "open" }>): OpenOutcome {
  try {
    const revision = revisions.get(command.revisionKey);
    if (revision === undefined) throw new SirsiError("INTERNAL", "a shard was asked for a revision it was not given");
    const instance = new GuestInstance(revision);
    idOf.set(instance, command.instanceId);
    if (command.image !== null) instance.restore(command.image);
    instances.set(command.instanceId, instance);
    return { kind: "opened", memoryBytes: instance.memoryBytes };
  } catch (thrown) {
    return { kind: "failed", error: openError(thrown).toPlain(), fuelUsed: 0 };
  }
}

function openError(thrown: unknown): SirsiError {
  if (thrown instanceof SirsiError) return thrown;
  const why = thrown instanceof Error ? thrown.message : String(thrown);
  if (thrown instanceof WebAssembly.RuntimeError || isStackOverflow(thrown)) return new SirsiError("GUEST_TRAP", `the module's start function trapped: ${why}; the agent was not started`);
  if (thrown instanceof RangeError) return new SirsiError("OVERLOADED", `no room for another agent on this host: ${why}; delete agents that are done, or use another host`, { retryAfterMs: 1_000, cause: thrown });
  return new SirsiError("MODULE_REJECTED", `the module cannot be instantiated: ${why}`);
}

const gone: StepOutcome = {
  kind: "failed",
  error: new SirsiError("SHARD_LOST", "the agent's instance is no longer there; send again").toPlain(),
  fuelUsed: 0,
};

function run(command: Command): void {
  Atomics.add(counters, COUNTERS.heartbeat, 1);
  Atomics.store(counters, COUNTERS.running, command.instanceId);
  switch (command.kind) {
    case "open":
      writeAnswer(answers, command.callId, open(command));
      break;
    case "step":
    case "resume": {
      const instance = instances.get(command.instanceId);
      let outcome = gone;
      if (instance !== undefined) {
        outcome = command.kind === "step" ? instance.step(command.call, command.budget) : instance.resume(command.response, command.timeoutMs);
        if (instance.state === "dead") instances.delete(command.instanceId);
      }
      writeAnswer(answers, command.callId, outcome);
      break;
    }
    case "close":
      instances.delete(command.instanceId);
  }
  Atomics.store(counters, COUNTERS.running, 0);
}

port.on("message", (message: ToShard) => {
  switch (message.kind) {
    case "revision":
      revisions.set(message.revision.key, new LoadedRevision(message.revision, host));
      return;
    case "forget_revision":
      revisions.delete(message.key);
      return;
    case "batch": {
      const frames = new FrameReader(message.buffer, message.length);
      lastFlush = systemClock.monotonic();
      while (!frames.done) {
        run(readCommand(frames));
        if (systemClock.monotonic() - lastFlush > FLUSH_AFTER_MS) flush();
      }
      flush();
    }
  }
});
