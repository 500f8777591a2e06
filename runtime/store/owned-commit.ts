/** Commits as a store takes them over. */
import type { AgentCommit } from "./store.ts";

function copyOf(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes);
}

/** A copy that shares no bytes with the caller, who may use its buffers again once the call is made. A small view never drags its large buffer along. */
export function ownedCommit(commit: AgentCommit): AgentCommit {
  const { state, wait, exchange, outbox, timers, documents, deadLetter } = commit;
  return {
    ...commit,
    state: state === null ? null : { ...state, image: copyOf(state.image) },
    wait: wait === null ? null : { ...wait, body: copyOf(wait.body) },
    exchange: exchange === null ? null : { ...exchange, body: copyOf(exchange.body) },
    outbox: outbox.length === 0 ? outbox : outbox.map((entry) => ({ ...entry, body: copyOf(entry.body) })),
    timers: timers.length === 0 ? timers : timers.map((change) => (change.kind === "set" ? { ...change, payload: copyOf(change.payload) } : change)),
    documents: documents.length === 0 ? documents : documents.map((change) => (change.bytes === null ? change : { ...change, bytes: copyOf(change.bytes) })),
    deadLetter: deadLetter === null ? null : { ...deadLetter, body: copyOf(deadLetter.body) },
  };
}
