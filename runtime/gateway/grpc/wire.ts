/**
 * Replies as they go onto the wire: encoded by us and not by grpc-js, so that the
 * limit gets a clear error, and compressed when the caller accepts it.
 *
 * grpc-js's server never compresses: it writes a zero flag, the length, and lets
 * the message copy itself behind them. GzipMessage uses that to set the flag.
 */
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { Metadata } from "@grpc/grpc-js";
import { tooLarge } from "./fault.ts";
import type { SurfaceCall } from "./call-scope.ts";
import { ACCEPTS_GZIP_HEADER } from "./marks.ts";

export type Compression = "none" | "gzip";

/** The part of Buffer that grpc-js asks of a serialized message. */
export interface WireMessage {
  readonly byteLength: number;
  copy(target: Buffer, targetStart: number): number;
}

/** Below this, compressing costs more than it saves. */
const COMPRESS_FROM_BYTES = 1_024;

const gzipBytes = promisify<Buffer, Buffer>(gzip);

class GzipMessage implements WireMessage {
  readonly #bytes: Buffer;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get byteLength(): number {
    return this.#bytes.byteLength;
  }

  copy(target: Buffer, targetStart: number): number {
    target[0] = 1;
    return this.#bytes.copy(target, targetStart);
  }
}

/** Encodes the replies of one call. */
export class WireEncoder {
  readonly #serialize: (reply: never) => Buffer;
  readonly #maxBytes: number;
  readonly #compression: Compression;

  constructor(serialize: (reply: never) => Buffer, maxBytes: number, compression: Compression) {
    this.#serialize = serialize;
    this.#maxBytes = maxBytes;
    this.#compression = compression;
  }

  /** Whether replies to this call may be compressed; announces it when so. Once a call, before its first reply. */
  begin(call: SurfaceCall): boolean {
    if (this.#compression === "none" || call.metadata.get(ACCEPTS_GZIP_HEADER).length === 0) return false;
    const headers = new Metadata();
    headers.set("grpc-encoding", "gzip");
    call.sendMetadata(headers);
    return true;
  }

  encode(reply: unknown): Buffer {
    const bytes = this.#serialize(reply as never);
    if (bytes.byteLength > this.#maxBytes) throw tooLarge("reply", bytes.byteLength, this.#maxBytes);
    return bytes;
  }

  async compress(bytes: Buffer): Promise<WireMessage> {
    return worthCompressing(bytes) ? new GzipMessage(await gzipBytes(bytes)) : bytes;
  }
}

export function worthCompressing(bytes: Buffer): boolean {
  return bytes.byteLength >= COMPRESS_FROM_BYTES;
}
