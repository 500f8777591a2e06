/** A session's documents as one step sees them: as they are in the store, with what it has written itself laid over. */
import type { GetDocumentRequest, ListDocumentsRequest } from "../contract/gen/sirsi/agent/v1/guest_pb.ts";
import { SirsiError } from "../core/errors.ts";
import type { Store } from "../store/store.ts";

/** By key; null for one that the step removed. */
export type DocumentWrites = ReadonlyMap<string, Uint8Array | null>;

const KEY = /^[A-Za-z0-9_.-]+(\/[A-Za-z0-9_.-]+)*$/;
export const DOCUMENT_KEY_MAX_CHARS = 512;
const PREFIX = /^[A-Za-z0-9_./-]*$/;
const LIST_DEFAULT = 100;
const LIST_MAX = 1_000;

/** Why a key is none; empty when it is one. */
export function documentKeyFault(key: string): string {
  if (key.length > DOCUMENT_KEY_MAX_CHARS) return `has ${key.length} characters, more than the ${DOCUMENT_KEY_MAX_CHARS} it may`;
  return KEY.test(key) ? "" : "is not made of words of letters, digits, -, _ and . joined by slashes";
}

export async function readDocument(store: Pick<Store, "getDocument">, sessionId: string, writes: DocumentWrites | null, { key }: GetDocumentRequest): Promise<{ found: boolean; version: bigint; content: Uint8Array }> {
  const fault = documentKeyFault(key);
  if (fault !== "") throw new SirsiError("INVALID_ARGUMENT", `the document key ${shown(key)} ${fault}; for example: reports/2026.json`);
  const own = writes?.get(key);
  if (own !== undefined) return { found: own !== null, version: 0n, content: own ?? NO_BYTES };
  const stored = await store.getDocument(sessionId, key);
  return stored === null ? { found: false, version: 0n, content: NO_BYTES } : { found: true, version: BigInt(stored.version), content: stored.bytes };
}

export async function listDocuments(store: Pick<Store, "listDocuments">, sessionId: string, writes: DocumentWrites | null, request: ListDocumentsRequest): Promise<{ keys: string[] }> {
  const { prefix, after } = request;
  for (const [name, text] of [["prefix", prefix], ["after", after]] as const) {
    if (!PREFIX.test(text) || text.length > DOCUMENT_KEY_MAX_CHARS) throw new SirsiError("INVALID_ARGUMENT", `${name} ${shown(text)} cannot begin a document's key; keys are words of letters, digits, -, _ and . joined by slashes`);
  }
  if (request.limit < 0 || request.limit > LIST_MAX) throw new SirsiError("INVALID_ARGUMENT", `a list of ${request.limit} documents was asked for; ask for 1 to ${LIST_MAX} at a time, or 0 for ${LIST_DEFAULT}`);
  const limit = request.limit === 0 ? LIST_DEFAULT : request.limit;
  const own = [...(writes ?? [])].filter(([key]) => key.startsWith(prefix) && key > after);
  const removed = own.filter(([, bytes]) => bytes === null).length;
  // So many more as the step may have removed of them.
  const stored = await store.listDocuments(sessionId, prefix, after, limit + removed);
  const keys = new Set(stored.map(({ key }) => key));
  const last = stored.length < limit + removed ? null : (stored.at(-1)?.key ?? null);
  for (const [key, bytes] of own) {
    if (bytes === null) keys.delete(key);
    // Beyond the page that the store gave, there may be others before it.
    else if (last === null || key <= last) keys.add(key);
  }
  return { keys: [...keys].toSorted((a, b) => (a < b ? -1 : 1)).slice(0, limit) };
}

const NO_BYTES = new Uint8Array(0);

function shown(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
}
