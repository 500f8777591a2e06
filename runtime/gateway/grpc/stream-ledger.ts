/**
 * Sees every HTTP/2 stream before grpc-js does, and every status before it leaves.
 *
 * Three things need this place, for grpc-js shows them nowhere else: headers that
 * are over the limit or name the encodings a client accepts (it drops those before
 * a handler is called), statuses that it makes by itself, and the moment when the
 * last byte of a call has left.
 *
 * Invariants:
 * 1. a call of a known method counts as open from its headers to its close, any
 *    other stream is in `others` for as long;
 * 2. each call of a known method is counted once, at its close, with the status
 *    that left first, or CANCELLED when none did.
 */
import type { Http2Server, IncomingHttpHeaders, ServerHttp2Session, ServerHttp2Stream } from "node:http2";
import { constants as http2 } from "node:http2";
import { status as GrpcStatus, type Server, type ServerInterceptingCall, type ServerInterceptor } from "@grpc/grpc-js";
import type { Clock } from "../../core/clock.ts";
import { Deferred } from "../../core/deferred.ts";
import { SirsiError } from "../../core/errors.ts";
import type { CounterCell, HistogramCell } from "../../observe/metric-cells.ts";
import type { Metrics } from "../../observe/metrics.ts";
import type { FaultTeller } from "./fault.ts";
import { ACCEPTS_GZIP_HEADER, OVERSIZE_HEADER } from "./marks.ts";
import type { Compression } from "./wire.ts";

/** HTTP/2's own way to count a header: name, value and 32. */
const HEADER_OVERHEAD_BYTES = 32;

interface OpenCall {
  readonly path: string;
  readonly cells: MethodCells;
  readonly startedAt: number;
  code: number;
}

interface MethodCells {
  readonly seconds: HistogramCell;
  /** By status code, made when first needed. */
  readonly requests: (CounterCell | undefined)[];
}

export interface LedgerOptions {
  /** `/package.Service/Method` of every method that the services here offer. */
  readonly paths: readonly string[];
  readonly metadataMaxBytes: number;
  readonly compression: Compression;
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly fault: FaultTeller;
}

export class StreamLedger {
  readonly #options: LedgerOptions;
  readonly #cells: ReadonlyMap<string, MethodCells>;
  readonly #others = new Set<ServerHttp2Stream>();
  readonly #sessions = new Set<ServerHttp2Session>();
  #openCalls = 0;
  #idle: Deferred<void> | null = null;
  /** The call whose "stream" event is being delivered: grpc-js calls the interceptor within it. */
  #arriving: OpenCall | null = null;

  constructor(options: LedgerOptions) {
    this.#options = options;
    const cellsOf = (path: string): MethodCells => ({ seconds: options.metrics.histogram("sirsi_grpc_seconds", path.slice(1)), requests: [] });
    this.#cells = new Map(options.paths.map((path) => [path, cellsOf(path)]));
  }

  get openCalls(): number {
    return this.#openCalls;
  }

  /** Watches the servers that a bound grpc-js server listens with; returns them. */
  attach(server: Server): Http2Server[] {
    const servers = http2ServersOf(server);
    for (const http2Server of servers) {
      // Above our limit, so that a little too much gets a proper status instead of a broken stream.
      http2Server.updateSettings({ maxHeaderListSize: Math.max(65_535, 2 * this.#options.metadataMaxBytes) });
      http2Server.on("session", (session) => {
        this.#sessions.add(session);
        session.once("close", () => this.#sessions.delete(session));
      });
      http2Server.prependListener("stream", (stream, headers) => this.#onStream(stream as ServerHttp2Stream, headers));
    }
    return servers;
  }

  /** Brings grpc-js's own statuses to our form, and notes which one a call ends with. */
  readonly interceptor: ServerInterceptor = (method, call) => {
    const record = this.#arriving;
    this.#arriving = null;
    if (record === null) return call as ServerInterceptingCall;
    const sendStatus = call.sendStatus.bind(call);
    call.sendStatus = (given) => {
      if (record.code < 0) record.code = given.code ?? GrpcStatus.UNKNOWN;
      const status = this.#options.fault.complete(given, method.path);
      if (status !== given) record.code = status.code ?? GrpcStatus.UNKNOWN;
      sendStatus(status);
    };
    return call as ServerInterceptingCall;
  };

  /** Resolves when no call of the services is open. */
  whenIdle(): Promise<void> {
    if (this.#openCalls === 0) return Promise.resolve();
    this.#idle ??= new Deferred();
    return this.#idle.promise;
  }

  /** Ends what never ends by itself, such as a health watch. The client sees UNAVAILABLE. */
  refuseAll(): void {
    for (const stream of this.#others) stream.close(http2.NGHTTP2_REFUSED_STREAM);
  }

  /** Cuts every connection. grpc-js's forceShutdown forgets those it made while channelz is off. */
  cutAll(): void {
    for (const session of this.#sessions) session.destroy(undefined, http2.NGHTTP2_CANCEL);
  }

  #onStream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    const path = headers[":path"] ?? "";
    const cells = this.#cells.get(path);
    if (cells === undefined) {
      this.#arriving = null;
      this.#others.add(stream);
      stream.once("close", () => this.#others.delete(stream));
      return;
    }
    this.#mark(headers);
    const record: OpenCall = { path, cells, startedAt: this.#options.clock.monotonic(), code: -1 };
    this.#arriving = record;
    this.#openCalls += 1;
    stream.once("close", () => this.#onCallClosed(record));
  }

  #mark(headers: IncomingHttpHeaders): void {
    delete headers[OVERSIZE_HEADER];
    const bytes = sizeOf(headers);
    if (bytes > this.#options.metadataMaxBytes) headers[OVERSIZE_HEADER] = String(bytes);
    delete headers[ACCEPTS_GZIP_HEADER];
    if (this.#options.compression === "gzip" && String(headers["grpc-accept-encoding"] ?? "").includes("gzip")) headers[ACCEPTS_GZIP_HEADER] = "1";
  }

  #onCallClosed({ path, cells, startedAt, code: sent }: OpenCall): void {
    const { clock, metrics } = this.#options;
    const code = sent < 0 ? GrpcStatus.CANCELLED : sent;
    const requests = (cells.requests[code] ??= metrics.counter("sirsi_grpc_requests_total", path.slice(1), GrpcStatus[code] ?? String(code)));
    requests.inc();
    cells.seconds.observe((clock.monotonic() - startedAt) / 1000);
    this.#openCalls -= 1;
    if (this.#openCalls > 0) return;
    this.#idle?.resolve();
    this.#idle = null;
  }
}

function sizeOf(headers: IncomingHttpHeaders): number {
  let bytes = 0;
  for (const name in headers) {
    const value = headers[name];
    if (typeof value === "string") bytes += name.length + value.length + HEADER_OVERHEAD_BYTES;
    else for (const one of value ?? []) bytes += name.length + one.length + HEADER_OVERHEAD_BYTES;
  }
  return bytes;
}

/** grpc-js keeps its HTTP/2 servers to itself, so this reads a private field; the version is pinned and tests hold it. */
function http2ServersOf(server: Server): Http2Server[] {
  const { http2Servers } = server as unknown as { readonly http2Servers?: ReadonlyMap<Http2Server, unknown> };
  if (http2Servers === undefined || http2Servers.size === 0) {
    throw new SirsiError("INTERNAL", "this version of @grpc/grpc-js keeps its HTTP/2 servers elsewhere; install the version in package.json");
  }
  return [...http2Servers.keys()];
}
