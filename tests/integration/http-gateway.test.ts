import { once } from "node:events";
import { request } from "node:http";
import { connect, type Socket } from "node:net";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Deferred } from "../../runtime/core/deferred.ts";
import { openHttpGateway, type HostDescription, type HttpGateway } from "../../runtime/gateway/http/index.ts";
import { createLogger, openMetrics } from "../../runtime/observe/index.ts";

const description: HostDescription = {
  version: "0.1.0",
  grpcAddress: "127.0.0.1:50051",
  agentTypes: [{ typeId: "echo", displayName: "Echo", version: "1.0.0", description: "Says it again." }],
};

let gateway: HttpGateway;
let url: string;
let state: { notReady: string; draining: boolean };
let describeHost: () => HostDescription | Promise<HostDescription>;
let log: string[];
const metrics = openMetrics({ processMetrics: false });

beforeEach(async () => {
  state = { notReady: "", draining: false };
  describeHost = () => description;
  log = [];
  gateway = await openHttpGateway({
    listen: { host: "127.0.0.1", port: 0 },
    status: () => state,
    metrics,
    describe: () => describeHost(),
    log: createLogger({ output: { write: (line) => log.push(line) } }),
  });
  url = `http://127.0.0.1:${gateway.address.port}`;
});
afterEach(() => gateway.close());

const get = (path: string, init: RequestInit = {}) => fetch(`${url}${path}`, init);

/** fetch does not let a test choose the Host header. */
async function send(options: { method?: string; path?: string; headers?: Record<string, string> }, body = ""): Promise<{ status: number; body: string }> {
  const sent = request({ host: "127.0.0.1", port: gateway.address.port, agent: false, ...options });
  const answered = once(sent, "response");
  sent.end(body);
  const [response] = await answered;
  return { status: response.statusCode as number, body: await text(response) };
}

describe("the page at /", () => {
  it("tells version, agent types and where to look next", async () => {
    const response = await get("/");
    const page = await response.text();
    expect([response.status, response.headers.get("content-type")]).toEqual([200, "text/html; charset=utf-8"]);
    for (const part of ["0.1.0", "127.0.0.1:50051", "echo", "Says it again.", 'href="/metrics"', "Ready to serve."]) expect(page).toContain(part);
  });

  it("comes with headers that allow nothing from elsewhere, and its own style", async () => {
    const { headers } = await get("/");
    expect(headers.get("content-security-policy")).toMatch(/^default-src 'none'; style-src 'sha256-[\w+/=]{44}'; .*frame-ancestors 'none'$/);
    expect([headers.get("x-content-type-options"), headers.get("x-frame-options"), headers.get("referrer-policy")]).toEqual(["nosniff", "DENY", "no-referrer"]);
    expect(headers.get("x-powered-by")).toBeNull();
  });

  it("fails without telling why to the caller, but to the log", async () => {
    describeHost = () => Promise.reject(new TypeError("secret reason"));
    const response = await get("/");
    expect(response.status).toBe(500);
    expect(await response.text()).not.toContain("secret");
    expect(log.join()).toContain("secret reason");
    expect((await get("/healthz")).status).toBe(200);
  });
});

describe("for machines", () => {
  it("/metrics is the Prometheus text", async () => {
    metrics.gauge("sirsi_sessions").set(3);
    const response = await get("/metrics");
    expect([response.status, response.headers.get("content-type")]).toEqual([200, metrics.contentType]);
    expect(await response.text()).toContain("\nsirsi_sessions 3\n");
  });

  it("/healthz answers as long as the process does, ready or not", async () => {
    state.notReady = "no";
    const response = await get("/healthz?verbose");
    expect([response.status, await response.text()]).toEqual([200, "ok\n"]);
  });

  it("/readyz is 200 only when the host is ready, and says why not", async () => {
    const readiness = async (accept = "*/*") => {
      const response = await get("/readyz", { headers: { accept } });
      return [response.status, response.headers.get("retry-after"), await response.text()];
    };
    expect(await readiness()).toEqual([200, null, "ready\n"]);
    state.notReady = "the store does not answer";
    expect(await readiness()).toEqual([503, "1", "not ready: the store does not answer\n"]);
    expect(await readiness("application/json")).toEqual([503, "1", '{"ready":false,"reason":"the store does not answer"}\n']);
    state = { notReady: "", draining: true };
    expect(await readiness()).toEqual([503, "1", "not ready: the host is shutting down and takes no new work\n"]);
    state.draining = false;
    expect(await readiness("application/json")).toEqual([200, null, '{"ready":true,"reason":""}\n']);
  });

  it("HEAD answers like GET, without the body", async () => {
    const response = await get("/healthz", { method: "HEAD" });
    expect([response.status, response.headers.get("content-length"), await response.text()]).toEqual([200, "3", ""]);
  });
});

describe("a request that is not for this server", () => {
  it("gets 404 with what there is", async () => {
    const response = await get("/admin");
    expect([response.status, await response.text()]).toEqual([404, "There is nothing here; look at /, /metrics, /healthz, /readyz.\n"]);
  });

  it.each(["POST", "PUT", "DELETE", "OPTIONS"])("by %s gets 405", async (method) => {
    const response = await get("/", { method });
    expect([response.status, response.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
  });

  it("under another name gets 421, whatever it asks for", async () => {
    for (const host of ["evil.example", `evil.example:${gateway.address.port}`, "127.0.0.1:1"]) {
      expect(await send({ path: "/metrics", headers: { host } })).toMatchObject({ status: 421, body: expect.stringContaining("its own names") as string });
    }
    expect((await send({ path: "/healthz", headers: { host: `localhost:${gateway.address.port}` } })).status).toBe(200);
  });

  it("with a body gets 413", async () => {
    expect((await send({ headers: { "content-length": "5" } }, "hello")).status).toBe(413);
    expect((await send({ headers: { "transfer-encoding": "chunked" } }, "hello")).status).toBe(413);
  });

  it("with huge headers gets 431, with nonsense 400; the server goes on", async () => {
    expect((await send({ headers: { large: "x".repeat(20_000) } })).status).toBe(431);
    expect(await raw("nonsense\r\n\r\n")).toMatch(/^HTTP\/1\.1 400 /);
    expect((await get("/healthz")).status).toBe(200);
  });
});

/** What comes back for these bytes until the server ends the connection. */
async function raw(bytes: string): Promise<string> {
  const socket: Socket = connect(gateway.address.port, "127.0.0.1");
  socket.write(bytes);
  return await text(socket);
}

describe("the server", () => {
  it("answers what is in hand before it closes, and then no more", async () => {
    const [asked, finish] = [new Deferred<void>(), new Deferred<HostDescription>()];
    describeHost = () => {
      asked.resolve();
      return finish.promise;
    };
    await get("/healthz");
    const inHand = get("/");
    await asked.promise;
    const closed = gateway.close();
    finish.resolve(description);
    expect((await inHand).status).toBe(200);
    await closed;
    await expect(get("/healthz")).rejects.toThrow();
    await gateway.close();
  });

  it("says so when it cannot have its port, and how to go on", async () => {
    const options = { listen: gateway.address, status: () => state, metrics, describe: () => description, log: createLogger({ level: "silent" }) };
    await expect(openHttpGateway(options)).rejects.toMatchObject({ code: "CONFIG_INVALID", message: expect.stringMatching(/cannot listen on 127\.0\.0\.1:\d+ .*--http-listen/) as string });
  });
});
