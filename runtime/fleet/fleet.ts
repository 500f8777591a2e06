/**
 * The fleet as a host sees it. `Membership` (membership.ts) implements it; tests of
 * other parts may fake it.
 */
import type { HostEntry } from "../store/fleet-store.ts";

export interface Fleet {
  /** This host, as the others see it. Its id changes when it was buried and joins again. */
  readonly self: HostEntry;
  /** All live hosts, this one included, by name. */
  readonly hosts: readonly HostEntry[];
  /**
   * Whether this host may still answer for its agents and publish: its lease runs by its
   * own steady clock. Asked before every reply, so it costs next to nothing (D5).
   */
  readonly held: boolean;
  host(hostId: string): HostEntry | null;
  /** Called after each change of who is live, or of a host's state. The result takes it back. */
  onChange(listener: () => void): () => void;
}
