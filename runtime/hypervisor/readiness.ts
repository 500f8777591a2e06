/**
 * Whether the host is fit to serve, found out by doing: a call goes through a real
 * guest on a real shard, and a write and a read through the store. "Ready" is what
 * the last look found, and a look that does not come back in time is a no.
 */
import { encodeGuestCall } from "../contract/guest-codec.ts";
import type { Clock, Timer } from "../core/clock.ts";
import { SirsiError } from "../core/errors.ts";
import type { ShardPool } from "../sandbox/index.ts";
import type { Store } from "../store/store.ts";
import { PROBE_ANSWER, probeRevision } from "./probe-guest.ts";

export interface ReadinessConfig {
  readonly clock: Clock;
  readonly pool: ShardPool;
  readonly store: Pick<Store, "probe">;
  readonly intervalMs: number;
  /** Called with the reason, empty for ready, whenever it changes. */
  readonly onChange: (notReady: string) => void;
}

export interface ComponentLook {
  readonly ok: boolean;
  readonly message: string;
  readonly tookMs: number;
}

export interface Look {
  readonly guest: ComponentLook;
  readonly store: ComponentLook;
  readonly at: number;
}

const LOOK_TIMEOUT_MS = 5_000;

export class Readiness {
  readonly #config: ReadinessConfig;
  readonly #revision = probeRevision();
  readonly #call = encodeGuestCall({ case: "health", value: { $typeName: "sirsi.agent.v1.HealthCall" } });
  #notReady = "the host is starting";
  #timer: Timer | null = null;
  #closed = false;
  #looking: Promise<Look> | null = null;
  last: Look | null = null;

  constructor(config: ReadinessConfig) {
    this.#config = config;
  }

  /** Empty when ready. */
  get notReady(): string {
    return this.#notReady;
  }

  /** Looks now, and from then on every so often. */
  async start(): Promise<void> {
    await this.look();
    this.#plan();
  }

  #plan(): void {
    if (this.#closed) return;
    this.#timer = this.#config.clock.after(this.#config.intervalMs, () => void this.look().finally(() => this.#plan()));
  }

  /** One look; callers that come while one is under way share it. */
  look(): Promise<Look> {
    this.#looking ??= this.#lookNow().finally(() => {
      this.#looking = null;
    });
    return this.#looking;
  }

  async #lookNow(): Promise<Look> {
    const [guest, store] = await Promise.all([this.#timed("the probe guest", () => this.#stepGuest()), this.#timed("the store", () => this.#config.store.probe())]);
    const look: Look = { guest, store, at: this.#config.clock.now() };
    this.last = look;
    if (!this.#closed) this.#set([guest, store].filter(({ ok }) => !ok).map(({ message }) => message).join("; "));
    return look;
  }

  async #stepGuest(): Promise<void> {
    const { handle, opened } = this.#config.pool.open(this.#revision, null, "probe");
    try {
      const step = handle.step(this.#call, { timeoutMs: LOOK_TIMEOUT_MS, fuel: this.#revision.limits.fuelPerStep, state: "none", stateAtWait: false });
      const open = await opened;
      if (open.kind === "failed") throw SirsiError.revive(open.error);
      const outcome = await step;
      if (outcome.kind === "failed") throw SirsiError.revive(outcome.error);
      if (outcome.kind !== "done" || PROBE_ANSWER.compare(outcome.result) !== 0) throw new SirsiError("SHARD_LOST", `its step ended as ${outcome.kind}`);
    } finally {
      handle.close();
    }
  }

  async #timed(what: string, run: () => Promise<void>): Promise<ComponentLook> {
    const { clock } = this.#config;
    const started = clock.monotonic();
    const took = () => clock.monotonic() - started;
    let timer: Timer | null = null;
    const late = new Promise<never>((_resolve, reject) => {
      timer = clock.after(LOOK_TIMEOUT_MS, () => reject(new SirsiError("DEADLINE_EXCEEDED", `no answer within ${LOOK_TIMEOUT_MS} ms`)));
    });
    try {
      await Promise.race([run(), late]);
      return { ok: true, message: "", tookMs: took() };
    } catch (thrown) {
      return { ok: false, message: `${what} does not answer: ${SirsiError.from(thrown).message}`, tookMs: took() };
    } finally {
      (timer as Timer | null)?.cancel();
    }
  }

  #set(notReady: string): void {
    if (notReady === this.#notReady) return;
    this.#notReady = notReady;
    this.#config.onChange(notReady);
  }

  /** From here on the host is not ready, for this reason. */
  close(reason: string): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.#set(reason);
  }
}
