/**
 * Measuring in turns: bare, ours, bare, ours … Whatever else the machine does falls on
 * all contenders alike, so ratios are taken round by round, and then their median.
 */
import { systemClock } from "../../runtime/core/clock.ts";
import type { Comparison, Reading, Unit } from "./figure.ts";

export function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (sorted.length - 1) * q;
  const below = sorted[Math.floor(at)] ?? Number.NaN;
  const above = sorted[Math.ceil(at)] ?? Number.NaN;
  return below + (above - below) * (at - Math.floor(at));
}

export function readingOf(values: readonly number[], unit: Unit): Reading {
  return { median: quantile(values, 0.5), low: quantile(values, 0.25), high: quantile(values, 0.75), unit };
}

/** One value, without rounds. */
export function single(value: number, unit: Unit): Reading {
  return { median: value, low: value, high: value, unit };
}

export function ratioOf(ours: readonly number[], bare: readonly number[]): Comparison {
  return { as: "ratio", reading: readingOf(pairs(ours, bare, (a, b) => a / b), "×") };
}

export function addedOf(ours: readonly number[], bare: readonly number[], unit: Unit): Comparison {
  return { as: "added", reading: readingOf(pairs(ours, bare, (a, b) => a - b), unit) };
}

function pairs(ours: readonly number[], bare: readonly number[], combine: (ours: number, bare: number) => number): number[] {
  return ours.map((value, round) => combine(value, bare[round] ?? Number.NaN));
}

/** Every contender once a round, every other round in reverse, so that none always follows the same one. */
export async function inTurns<Name extends string, Taken>(rounds: number, contenders: Readonly<Record<Name, () => Promise<Taken> | Taken>>): Promise<Record<Name, Taken[]>> {
  const names = Object.keys(contenders) as Name[];
  const taken = Object.fromEntries(names.map((name) => [name, [] as Taken[]])) as Record<Name, Taken[]>;
  for (let round = 0; round < rounds; round++) {
    for (const name of round % 2 === 0 ? names : names.toReversed()) taken[name].push(await contenders[name]());
  }
  return taken;
}

/** Milliseconds that each call of `once` took, one after the other, for about `ms`. */
export async function timeEach(ms: number, once: () => Promise<unknown>, atMost = Infinity): Promise<number[]> {
  const took: number[] = [];
  const end = systemClock.monotonic() + ms;
  for (let now = systemClock.monotonic(); now < end && took.length < atMost; ) {
    await once();
    const after = systemClock.monotonic();
    took.push(after - now);
    now = after;
  }
  return took;
}

export interface Flow {
  readonly count: number;
  readonly perSecond: number;
}

/**
 * Keeps `inFlight` calls of `once` under way for about `ms`, and waits for the last ones.
 * `once` gets its slot; a slot has one call at a time.
 */
export function flow(ms: number, inFlight: number, once: (slot: number) => Promise<unknown>, atMost = Infinity): Promise<Flow> {
  const { promise, resolve, reject } = Promise.withResolvers<Flow>();
  const started = systemClock.monotonic();
  const end = started + ms;
  let asked = 0;
  let count = 0;
  let open = inFlight;
  let ended = false;
  const turn = (slot: number): void => {
    // The clock is looked at now and then: a look costs as much as a tenth of a fast call.
    ended ||= asked >= atMost || ((asked & 15) === 0 && systemClock.monotonic() >= end);
    if (ended) {
      if (--open === 0) resolve({ count, perSecond: (count * 1000) / (systemClock.monotonic() - started) });
      return;
    }
    asked++;
    once(slot).then(() => {
      count++;
      turn(slot);
    }, reject);
  };
  for (let slot = 0; slot < inFlight; slot++) turn(slot);
  return promise;
}
