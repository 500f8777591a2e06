/** A part of the benchmark: it runs in a process of its own and hands back its figures. */
import { SirsiError } from "../../runtime/core/errors.ts";
import type { Figure } from "./figure.ts";

export interface Plan {
  readonly quick: boolean;
  /** For the contents of messages. */
  readonly seed: number;
  /** Agents that the section of that name puts into a store. */
  readonly registered: number;
  /** How often each contender has its turn. */
  readonly rounds: number;
  /** How long one turn lasts. */
  readonly roundMs: number;
  /** Where the section may keep files; removed after it. On the disk that a host would use. */
  readonly folder: string;
}

export interface Section {
  readonly name: string;
  readonly title: string;
  /** What a reader must not take the figures for. */
  readonly notMeasured: readonly string[];
  /** For one that takes longer than the others may. */
  readonly maxMs?: number;
  /** Wrong answers throw: figures of a thing that does not work are worth nothing. */
  run(plan: Plan): Promise<readonly Figure[]>;
}

/** For answers that are not what they must be. */
export function requireRight(right: boolean, what: () => string): void {
  if (!right) throw new SirsiError("INTERNAL", `the benchmark got a wrong answer: ${what()}; the figures of this section are void until that is mended`);
}
