import { AgentError } from "./agent-error";
import { bytesOf, textOf } from "./bytes";
import { DocumentList, DocumentResult, EmitDeleteDocument, EmitDocument, GetDocumentRequest, GuestEmit, GuestRequest, ListDocumentsRequest } from "./gen/guest";
import { send, unexpected, wait } from "./host-call";
import { NO_BYTES } from "./wire";

/** A document as it was read: there or not, or why it could not be read. */
export class Document {
  constructor(
    private readonly result: DocumentResult | null,
    public readonly error: AgentError | null,
  ) {}

  get ok(): bool {
    return this.error === null;
  }

  /** Whether there is such a document. */
  get found(): bool {
    const result = this.result;
    return result !== null && result.found;
  }

  /** From 1, rising with each write; 0 when this step wrote it, or when there is none. */
  get version(): i64 {
    const result = this.result;
    return result === null ? 0 : result.version;
  }

  /** None when there is no such document. */
  get bytes(): Uint8Array {
    const result = this.result;
    return result === null ? NO_BYTES : result.content;
  }

  /** The bytes as text, or null when they are not UTF-8. */
  text(): string | null {
    return textOf(this.bytes);
  }
}

/** A page of keys, or why it could not be read. */
export class DocumentKeys {
  constructor(
    public readonly keys: string[],
    public readonly error: AgentError | null,
  ) {}

  get ok(): bool {
    return this.error === null;
  }
}

/**
 * The session's documents, which all of its agents share. A step reads what it has written;
 * everybody else does once it is committed. Keys are words of letters, digits, `-`, `_` and
 * `.` joined by slashes: `reports/2026.json`.
 */
export class Documents {
  static get(key: string): Document {
    const inner = new GetDocumentRequest();
    inner.key = key;
    const request = new GuestRequest();
    request.getDocument = inner;
    const response = wait(request);
    if (response.error !== null) return new Document(null, response.error);
    return response.getDocument === null ? new Document(null, unexpected()) : new Document(response.getDocument, null);
  }

  /** Writes a document whole, with the step's commit. */
  static put(key: string, content: Uint8Array): void {
    const document = new EmitDocument();
    document.key = key;
    document.content = content;
    const emit = new GuestEmit();
    emit.document = document;
    send(emit);
  }

  static putText(key: string, text: string): void {
    Documents.put(key, bytesOf(text));
  }

  /** Without effect when there is no such document. */
  static remove(key: string): void {
    const inner = new EmitDeleteDocument();
    inner.key = key;
    const emit = new GuestEmit();
    emit.deleteDocument = inner;
    send(emit);
  }

  /** Keys that begin with `prefix`, in order, from after the key `after`; `limit` 0 for 100. */
  static keys(prefix: string = "", after: string = "", limit: i32 = 0): DocumentKeys {
    const inner = new ListDocumentsRequest();
    inner.prefix = prefix;
    inner.after = after;
    inner.limit = limit;
    const request = new GuestRequest();
    request.listDocuments = inner;
    const response = wait(request);
    const list: DocumentList | null = response.listDocuments;
    if (response.error !== null) return new DocumentKeys([], response.error);
    return list === null ? new DocumentKeys([], unexpected()) : new DocumentKeys(list.keys, null);
  }
}
