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
import { GuestInstance } from "./instance.ts";
import { type GuestHost, LoadedRevision } from "./loaded-revision.ts";
import { writeFailed, writeOpened } from "./outcome-frame.ts";
import { CommandKind, COUNTERS, type FromShard, readBudget, readOpen, type ToShard } from "./shard-protocol.ts";

/** Answers wait for the rest of their batch at most this long. */
const FLUSH_AFTER_MS = 1;
/** A batch with a large state in it is sent on its own. */
const FLUSH_AFTER_BYTES = 256 * 1024;

if (parentPort === null) throw new SirsiError("INTERNAL", "shard-thread.ts only runs as a worker thread");
const port = parentPort;
const counters = new Int32Array((workerData as { counters: SharedArrayBuffer }).counters);

const revisions = new Map<number, LoadedRevision>();
const instances = new Map<number, GuestInstance>();
const idOf = new WeakMap<object, number>();
const answers = new FrameWriter();

function post(message: FromShard, transfer: ArrayBuffer[] = []): void {
  port.postMessage(message, transfer);
}

function flush(): void {
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

function open(instanceId: number, revisionKey: number, images: readonly Uint8Array[]): void {
  try {
    const revision = revisions.get(revisionKey);
    if (revision === undefined) throw new SirsiError("INTERNAL", "a shard was asked for a revision it was not given");
    const instance = new GuestInstance(revision);
    idOf.set(instance, instanceId);
    if (images.length > 0) instance.restore(images);
    instances.set(instanceId, instance);
    writeOpened(answers, instance.memoryBytes, instance.state === "suspended");
  } catch (thrown) {
    writeFailed(answers, openError(thrown).toPlain(), 0);
  }
}

function openError(thrown: unknown): SirsiError {
  if (thrown instanceof SirsiError) return thrown;
  const why = thrown instanceof Error ? thrown.message : String(thrown);
  if (thrown instanceof WebAssembly.RuntimeError || isStackOverflow(thrown)) return new SirsiError("GUEST_TRAP", `the module's start function trapped: ${why}; the agent was not started`);
  if (thrown instanceof RangeError) return new SirsiError("OVERLOADED", `no room for another agent on this host: ${why}; delete agents that are done, or use another host`, { retryAfterMs: 1_000, cause: thrown });
  return new SirsiError("MODULE_REJECTED", `the module cannot be instantiated: ${why}`);
}

const gone = new SirsiError("SHARD_LOST", "the agent's instance is no longer there; send again").toPlain();

/** One command, from a batch to the answers. `startedAt` is now, monotonic. */
function carryOut(from: FrameReader, startedAt: number): void {
  const kind = from.u8();
  const instanceId = from.u32();
  const callId = from.u32();
  Atomics.store(counters, COUNTERS.running, instanceId);
  Atomics.add(counters, COUNTERS.heartbeat, 1);
  if (kind === CommandKind.close) {
    instances.get(instanceId)?.retire();
    return void instances.delete(instanceId);
  }
  answers.u32(callId);
  if (kind === CommandKind.open) {
    const { revisionKey, images } = readOpen(from);
    return open(instanceId, revisionKey, images);
  }
  const instance = instances.get(instanceId) ?? null;
  if (kind === CommandKind.step || kind === CommandKind.resume) {
    const budget = readBudget(from);
    const bytes = from.bytes();
    if (instance === null) return writeFailed(answers, gone, 0);
    if (kind === CommandKind.step) instance.step(bytes, budget, startedAt, answers);
    else instance.resume(bytes, budget, startedAt, answers);
  } else if (instance === null) return writeFailed(answers, gone, 0);
  else if (kind === CommandKind.takeState) instance.takeState(answers);
  else instance.describe(answers);
  if (instance.state === "dead") instances.delete(instanceId);
}

/** The clock is looked at once a command: the end of one is the start of the next. */
function carryOutAll(frames: FrameReader): void {
  let now = systemClock.monotonic();
  let lastFlush = now;
  while (!frames.done) {
    carryOut(frames, now);
    now = systemClock.monotonic();
    if (now - lastFlush > FLUSH_AFTER_MS || answers.length > FLUSH_AFTER_BYTES) {
      flush();
      lastFlush = now;
    }
  }
  Atomics.store(counters, COUNTERS.running, 0);
  flush();
}

port.on("message", (message: ToShard) => {
  switch (message.kind) {
    case "revision":
      revisions.set(message.revision.key, new LoadedRevision(message.revision, host));
      return;
    case "forget_revision":
      revisions.delete(message.key);
      return;
    case "batch":
      carryOutAll(new FrameReader(message.buffer, message.length));
  }
});
