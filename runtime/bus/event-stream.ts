/**
 * A record of what was published, kept for a while by somebody else than this process:
 * whoever comes late, or was cut off, reads on where it stopped.
 *
 * Every entry has a sequence, one count for the whole stream; so within one subject they
 * rise and have gaps. What was read once has the same sequence for every reader.
 */
import type { SirsiError } from "../core/errors.ts";
import type { Headers } from "./headers.ts";

export interface StreamEntry {
  readonly sequence: number;
  readonly data: Uint8Array;
}

/** Who reads. None of these may throw. */
export interface StreamReader {
  /** Once, when a reading of what comes begins: the newest entry of the subject until then; null for none. */
  before?(newest: StreamEntry | null): void;
  /** In the order of the sequences, each once. */
  entry(entry: StreamEntry): void;
  /** Once: what was there when the reading began has been given. */
  caughtUp?(): void;
  /** The reading is over: EVENTS_NOT_KEPT when what comes next is gone, BUS_UNAVAILABLE when the stream is. */
  failed(error: SirsiError): void;
}

export interface Reading {
  /** Ends it; the reader hears nothing more. Repeatable. */
  close(): void;
}

export type EventStreamState =
  /** Not known yet, or anew after a lost connection: what is appended waits, readings wait. */
  | { readonly kind: "opening"; readonly reason: string }
  | { readonly kind: "open"; readonly name: string; readonly replicas: number }
  /** Nothing is kept: what is appended goes to those who listen at the time, and no reading is possible. */
  | { readonly kind: "unusable"; readonly reason: string };

/** Since it was opened; all but `waiting` only rise. */
export interface EventStreamCounts {
  /** Taken for sending. */
  readonly appended: number;
  /** Sent again, since no confirmation came. */
  readonly repeated: number;
  /** Given up, or never taken for want of room. */
  readonly lost: number;
  /** Sent or to be sent, and not confirmed. */
  readonly waiting: number;
}

export interface EventStream {
  /**
   * Publishes and forgets: never waits, never throws. What is not confirmed is sent again
   * under its `id`, which the stream knows repeats by, within bounds of room and time.
   */
  append(subject: string, id: string, data: Uint8Array, headers: Headers): void;
  /** From a sequence on, what is kept first; from 0: what is appended after this call. */
  read(subject: string, from: number, reader: StreamReader): Reading;
  /** Lets go of what is kept of a subject, if it can be done now. */
  forget(subject: string): void;
  readonly state: EventStreamState;
  readonly counts: EventStreamCounts;
  /** Resolves when all that was appended is confirmed or given up, at the latest after `withinMs`. */
  settled(withinMs: number): Promise<void>;
  /** Stops all readings without a word, and sends nothing more. Repeatable. */
  close(): void;
}
