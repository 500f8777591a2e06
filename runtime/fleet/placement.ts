/**
 * Where an agent belongs: rendezvous hashing over the hosts that take agents, so that a
 * host that comes or goes moves no more agents than it must; weighted by the room that
 * each has left; first those whose labels the module asks for, if any has them.
 *
 * Pure: every host that sees the same hosts comes to the same answer.
 */
import { createHash } from "node:crypto";
import type { HostEntry } from "../store/fleet-store.ts";

export interface Wants {
  /** Labels that the module's manifest asks for; a host has them all, or is only a second choice. */
  readonly labels: Readonly<Record<string, string>>;
}

export const ANYWHERE: Wants = { labels: {} };

/** A host that is nearly full still gets this share of what an empty one gets: it is not shunned before it is full. */
const LEAST_WEIGHT = 0.05;

/** The best host for `key` of those that take agents; null when none does. */
export function place(key: string, hosts: readonly HostEntry[], wants: Wants): HostEntry | null {
  return ranked(key, hosts, wants)[0] ?? null;
}

/** Every host that takes agents, the best for `key` first. */
export function ranked(key: string, hosts: readonly HostEntry[], wants: Wants): readonly HostEntry[] {
  const taking = hosts.filter(takesAgents);
  const fitting = taking.filter((host) => hasLabels(host, wants));
  const scored = (fitting.length > 0 ? fitting : taking).map((host) => ({ host, score: scoreOf(key, host) }));
  return scored.toSorted((a, b) => b.score - a.score || (a.host.name < b.host.name ? -1 : 1)).map(({ host }) => host);
}

export function takesAgents({ state }: HostEntry): boolean {
  return state === "active";
}

export function hasLabels(host: HostEntry, { labels }: Wants): boolean {
  return Object.entries(labels).every(([name, value]) => (name === "zone" ? host.zone === value : host.labels[name] === value));
}

/** Weighted rendezvous: −w / ln(u), with u uniform in (0, 1) by the hash of host and key. */
function scoreOf(key: string, host: HostEntry): number {
  const u = (createHash("sha256").update(`${host.name}\n${key}`).digest().readUIntBE(0, 6) + 0.5) / 2 ** 48;
  return -weightOf(host) / Math.log(u);
}

/** In steps, so that hosts whose views of a load differ by little still agree. */
function weightOf({ capacity, load }: HostEntry): number {
  const room = Math.max(LEAST_WEIGHT, 1 - load.resident / Math.max(1, capacity));
  const idle = load.cpu > 0.95 ? 0.5 : 1;
  return capacity * (Math.ceil(room * 8) / 8) * idle;
}
