/**
 * The host's shards, and instances placed on them.
 *
 * An ended shard is replaced at once; its instances are gone, and whoever holds one
 * learns it from a `lost` outcome or from `alive` and opens it anew from a checkpoint.
 */
import type { Clock } from "../core/clock.ts";
import { SirsiError } from "../core/errors.ts";
import type { Revision } from "../module/revision.ts";
import type { ShardRevision } from "./loaded-revision.ts";
import type { StepBudget } from "./outcomes.ts";
import { type LostOutcome, Shard, type ShardDescribeOutcome, type ShardOpenOutcome, type ShardStateOutcome, type ShardStepOutcome } from "./shard.ts";

export interface GuestLogLine {
  readonly tag: string;
  readonly level: number;
  readonly line: string;
}

export interface ShardPoolConfig {
  readonly clock: Clock;
  readonly count: number;
  readonly stallMs: number;
  /** A guest's log line; `tag` is what `open` was given. */
  readonly onLog: (line: GuestLogLine) => void;
  readonly onShardLost: (index: number, why: string) => void;
}

/** One instance on one shard. Calls are made one at a time by its owner. */
export class InstanceHandle {
  readonly id: number;
  readonly tag: string;
  readonly #shard: Shard;
  readonly #forget: (handle: InstanceHandle) => void;
  #closed = false;

  constructor(id: number, tag: string, shard: Shard, forget: (handle: InstanceHandle) => void) {
    this.id = id;
    this.tag = tag;
    this.#shard = shard;
    this.#forget = forget;
  }

  get shardIndex(): number {
    return this.#shard.index;
  }

  get alive(): boolean {
    return !this.#closed && !this.#shard.ended;
  }

  step(call: Uint8Array, budget: StepBudget): Promise<ShardStepOutcome> {
    return this.#closed ? Promise.resolve(CLOSED) : this.#shard.step(this.id, call, budget);
  }

  /** The same without a promise: `settle` gets the outcome as it comes, which may be at once. It must not throw. */
  stepThen(call: Uint8Array, budget: StepBudget, settle: (outcome: ShardStepOutcome) => void): void {
    if (this.#closed) settle(CLOSED);
    else this.#shard.stepThen(this.id, call, budget, settle);
  }

  /** `budget` is what is left of the step's. */
  resume(response: Uint8Array, budget: StepBudget): Promise<ShardStepOutcome> {
    return this.#closed ? Promise.resolve(CLOSED) : this.#shard.resume(this.id, response, budget);
  }

  /** The state at rest as a base. Fails while it is suspended. */
  takeState(): Promise<ShardStateOutcome> {
    return this.#closed ? Promise.resolve(CLOSED) : this.#shard.takeState(this.id);
  }

  /** What a person may want to know of its memory. Changes nothing. */
  describe(): Promise<ShardDescribeOutcome> {
    return this.#closed ? Promise.resolve(CLOSED) : this.#shard.describe(this.id);
  }

  /** Drops the instance. Repeatable. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#shard.instances--;
    this.#shard.close(this.id);
    this.#forget(this);
  }
}

const LAST_INSTANCE = 2 ** 31 - 1;
const CLOSED: LostOutcome = { kind: "lost", culprit: false, why: "the instance was closed" };

export interface OpenedInstance {
  readonly handle: InstanceHandle;
  /** When the instance is there; a step may be sent before. */
  readonly opened: Promise<ShardOpenOutcome>;
}

export class ShardPool {
  readonly #config: ShardPoolConfig;
  readonly #shards: Shard[] = [];
  readonly #handles = new Map<number, InstanceHandle>();
  readonly #keys = new WeakMap<Revision, ShardRevision>();
  #nextKey = 1;
  #lastInstance = 0;
  #closing = false;

  constructor(config: ShardPoolConfig) {
    this.#config = config;
    for (let index = 0; index < config.count; index++) this.#shards.push(this.#start(index));
  }

  get shards(): readonly { readonly index: number; readonly instances: number; readonly pendingCalls: number }[] {
    return this.#shards;
  }

  get instances(): number {
    return this.#handles.size;
  }

  /**
   * A new instance of the revision, on the least loaded shard: from its pristine image, or
   * from `images`: a base, the differences after it, oldest first, and last perhaps a wait.
   * A wait opens only under the preparation that it was made with; the others under any.
   */
  open(revision: Revision, images: readonly Uint8Array[] | null, tag: string): OpenedInstance {
    if (this.#closing) throw new SirsiError("SHUTTING_DOWN", "the host is shutting down and starts no instances; try again when it is back");
    if (images?.length === 0) throw new SirsiError("STORE_CORRUPT", "an agent's state has no images; it is not started afresh in its place");
    const shard = this.#leastLoaded();
    const known = this.#known(revision);
    shard.provide(known);
    const handle = new InstanceHandle(this.#freeId(), tag, shard, (closed) => this.#handles.delete(closed.id));
    shard.instances++;
    this.#handles.set(handle.id, handle);
    return { handle, opened: shard.open(handle.id, known.key, images ?? []) };
  }

  /** Begins anew after years of opening and closing: the shards keep ids in 31 bits. */
  #freeId(): number {
    do this.#lastInstance = this.#lastInstance === LAST_INSTANCE ? 1 : this.#lastInstance + 1;
    while (this.#handles.has(this.#lastInstance));
    return this.#lastInstance;
  }

  /** Lets go of a revision that no agent uses any more. */
  forget(revision: Revision): void {
    const known = this.#keys.get(revision);
    if (known === undefined) return;
    for (const shard of this.#shards) shard.forget(known.key);
  }

  /** Ends all shards now; calls in hand are lost. */
  async close(): Promise<void> {
    this.#closing = true;
    await Promise.all(this.#shards.map((shard) => shard.terminate("the host closed it")));
  }

  #known(revision: Revision): ShardRevision {
    const found = this.#keys.get(revision);
    if (found !== undefined) return found;
    const { compiled, limits, preparation, globals, canWait, uncapturable, manifest } = revision;
    const made: ShardRevision = { key: this.#nextKey++, name: manifest.name, compiled, limits, preparation, globals, canWait, capturable: uncapturable === "" };
    this.#keys.set(revision, made);
    return made;
  }

  #leastLoaded(): Shard {
    const [first, ...rest] = this.#shards;
    if (first === undefined) throw new SirsiError("INTERNAL", "the host has no shards");
    return rest.reduce((best, shard) => (shard.instances < best.instances ? shard : best), first);
  }

  #start(index: number): Shard {
    return new Shard(index, {
      clock: this.#config.clock,
      stallMs: this.#config.stallMs,
      onLog: (instanceId, level, line) => this.#config.onLog({ tag: this.#handles.get(instanceId)?.tag ?? "", level, line }),
      onEnd: (ended, why) => this.#replace(ended, why),
    });
  }

  #replace(ended: Shard, why: string): void {
    if (this.#closing) return;
    this.#shards[ended.index] = this.#start(ended.index);
    this.#config.onShardLost(ended.index, why);
  }
}
