/** What callers of a bus may ask for, checked alike by every implementation. */
import { SirsiError } from "../core/errors.ts";
import type { BusStatus, RequestOptions, SubscribeOptions } from "./bus.ts";

export interface SubscribeTerms {
  /** Null when it shares with nobody. */
  readonly queue: string | null;
  /** Infinity for no end. */
  readonly max: number;
}

/** The terms of a subscription in full, or INVALID_ARGUMENT naming the option. */
export function requireSubscribeTerms(options: SubscribeOptions): SubscribeTerms {
  const { max = Infinity } = options;
  const queue = options.queue ?? null;
  if (queue !== null && (queue === "" || /[\s\p{Cc}]/u.test(queue))) throw invalidOption("queue", "it must be a name without white space");
  if (max !== Infinity && (!Number.isInteger(max) || max < 1)) throw invalidOption("max", `it must be a whole number from 1, got ${max}`);
  return { queue, max };
}

export function requireTimeout({ timeoutMs }: RequestOptions): void {
  if (!Number.isFinite(timeoutMs) || timeoutMs < 0) throw invalidOption("timeoutMs", `it must be milliseconds from 0, got ${timeoutMs}`);
}

/** What a bus throws that takes nothing new. */
export function unavailable(status: BusStatus): SirsiError {
  return new SirsiError("BUS_UNAVAILABLE", `The bus is ${status} and takes nothing new. Try again when the host is back.`);
}

function invalidOption(field: string, fault: string): SirsiError {
  return new SirsiError("INVALID_ARGUMENT", `The option ${field} of the bus cannot be used: ${fault}.`, { fields: [{ field, description: fault }] });
}
