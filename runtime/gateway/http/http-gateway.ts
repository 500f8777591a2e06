/**
 * HTTP for operators: metrics, liveness, readiness, and a small status page.
 * It only reads, so GET and HEAD are all it knows.
 */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { formatAddress, type ListenAddress } from "../../config/index.ts";
import { SirsiError } from "../../core/errors.ts";
import type { HostStatus } from "../../hypervisor/service-api.ts";
import type { Logger } from "../../observe/logger.ts";
import type { Metrics } from "../../observe/metrics.ts";
import { isOwnHost } from "./host-check.ts";
import { PAGE_STYLE, statusPage, type HostDescription } from "./status-page.ts";

export interface HttpGatewayOptions {
  /** Port 0 takes a free one. */
  readonly listen: ListenAddress;
  readonly status: () => HostStatus;
  readonly metrics: Pick<Metrics, "text" | "contentType">;
  readonly describe: () => HostDescription | Promise<HostDescription>;
  readonly log: Logger;
}

export interface HttpGateway {
  /** With the port that was taken. */
  readonly address: ListenAddress;
  /** Answers what is in hand, then closes. Repeatable. */
  close(): Promise<void>;
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

const HEADER_BYTES_MAX = 16 * 1024;
const REQUEST_TIMEOUT_MS = 10_000;
const IDLE_TIMEOUT_MS = 5_000;
const CONNECTIONS_MAX = 256;

const TEXT = "text/plain; charset=utf-8";
const JSON_TYPE = "application/json; charset=utf-8";
const HTML = "text/html; charset=utf-8";

const STYLE_HASH = createHash("sha256").update(PAGE_STYLE).digest("base64");
const SECURITY_HEADERS = {
  "content-security-policy": `default-src 'none'; style-src 'sha256-${STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "no-referrer",
  "cross-origin-resource-policy": "same-origin",
  "cross-origin-opener-policy": "same-origin",
  "cache-control": "no-store",
} as const;

type Route = (request: IncomingMessage) => Answer | Promise<Answer>;

export async function openHttpGateway(options: HttpGatewayOptions): Promise<HttpGateway> {
  const routes = routesOf(options);
  const bound: { address: ListenAddress } = { address: options.listen };
  const server = createServer({ maxHeaderSize: HEADER_BYTES_MAX, requestTimeout: REQUEST_TIMEOUT_MS, keepAliveTimeout: IDLE_TIMEOUT_MS }, (request, response) => {
    void handle(request, response, { server, routes, address: bound.address, log: options.log });
  });
  server.maxConnections = CONNECTIONS_MAX;
  bound.address = { host: options.listen.host, port: await listen(server, options.listen) };
  let closed: Promise<void> | null = null;
  return {
    address: bound.address,
    close: () => {
      closed ??= new Promise((resolve) => {
        server.close(() => resolve());
        // Connections with a request in hand stay until it is answered; idle ones would stay for their whole timeout.
        server.closeIdleConnections();
      });
      return closed;
    },
  };
}

function listen(server: Server, address: ListenAddress): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", (error) => {
      reject(
        new SirsiError("CONFIG_INVALID", `the HTTP server cannot listen on ${formatAddress(address)} (${error.message}); free the port or choose another with --http-listen`, {
          cause: error,
        }),
      );
    });
    server.listen(address.port, address.host, () => {
      const bound = server.address();
      resolve(typeof bound === "object" && bound !== null ? bound.port : address.port);
    });
  });
}

function routesOf(options: HttpGatewayOptions): ReadonlyMap<string, Route> {
  return new Map<string, Route>([
    ["/", async () => ({ status: 200, type: HTML, body: statusPage(await options.describe(), reasonNotReady(options.status())) })],
    ["/metrics", async () => ({ status: 200, type: options.metrics.contentType, body: await options.metrics.text() })],
    ["/healthz", () => ({ status: 200, type: TEXT, body: "ok\n" })],
    ["/readyz", (request) => readiness(request, reasonNotReady(options.status()))],
  ]);
}

function reasonNotReady(status: HostStatus): string {
  return status.draining ? "the host is shutting down and takes no new work" : status.notReady;
}

function readiness(request: IncomingMessage, reason: string): Answer {
  const status = reason === "" ? 200 : 503;
  const headers: Record<string, string> = status === 200 ? {} : { "retry-after": "1" };
  if ((request.headers.accept ?? "").includes("application/json")) {
    return { status, type: JSON_TYPE, body: `${JSON.stringify({ ready: reason === "", reason })}\n`, headers };
  }
  return { status, type: TEXT, body: reason === "" ? "ready\n" : `not ready: ${reason}\n`, headers };
}

interface Handling {
  readonly server: Server;
  readonly routes: ReadonlyMap<string, Route>;
  readonly address: ListenAddress;
  readonly log: Logger;
}

/** Never rejects. */
async function handle(request: IncomingMessage, response: ServerResponse, { server, routes, address, log }: Handling): Promise<void> {
  const answer = refusal(request, routes, address) ?? (await routed(request, routes, log));
  response.writeHead(answer.status, {
    ...SECURITY_HEADERS,
    ...answer.headers,
    // While the server closes, no connection may wait for another request.
    ...(server.listening ? {} : { connection: "close" }),
    "content-type": answer.type,
    "content-length": Buffer.byteLength(answer.body),
  });
  response.end(request.method === "HEAD" ? undefined : answer.body);
}

function pathOf(request: IncomingMessage): string {
  return (request.url ?? "/").split("?", 1)[0] ?? "/";
}

/** Why a request is turned away before any route sees it; null when it is not. */
function refusal(request: IncomingMessage, routes: ReadonlyMap<string, Route>, address: ListenAddress): Answer | null {
  const text = (status: number, body: string, headers: Record<string, string> = {}): Answer => ({ status, type: TEXT, body: `${body}\n`, headers });
  if (!isOwnHost(request.headers.host, address)) {
    return text(421, `This server answers only to its own names; ask for http://${formatAddress(address)}/.`);
  }
  if (request.method !== "GET" && request.method !== "HEAD") {
    return text(405, "This server only answers GET and HEAD; changes go over gRPC.", { allow: "GET, HEAD", connection: "close" });
  }
  if (Number(request.headers["content-length"] ?? 0) > 0 || request.headers["transfer-encoding"] !== undefined) {
    return text(413, "Requests to this server have no body; send it without one.", { connection: "close" });
  }
  if (!routes.has(pathOf(request))) return text(404, `There is nothing here; look at /, ${[...routes.keys()].slice(1).join(", ")}.`);
  return null;
}

async function routed(request: IncomingMessage, routes: ReadonlyMap<string, Route>, log: Logger): Promise<Answer> {
  try {
    return await (routes.get(pathOf(request)) as Route)(request);
  } catch (error) {
    log.error({ err: error, path: pathOf(request) }, "an HTTP request failed by a fault of the host");
    return { status: 500, type: TEXT, body: "The host failed to answer; its log tells why.\n" };
  }
}
