import { describe, expect, it } from "vitest";
import { completeOptions, type NatsBusOptions } from "../../runtime/bus/nats/nats-options.ts";
import { systemClock } from "../../runtime/core/clock.ts";
import { silentLogger } from "../../runtime/observe/index.ts";

function complete(options: Partial<NatsBusOptions>) {
  return completeOptions({ clock: systemClock, log: silentLogger, onError: () => undefined, servers: ["nats://127.0.0.1"], ...options });
}

describe("the options of the NATS bus", () => {
  it.each([
    ["nats://bus.example:4333", { address: "bus.example:4333", host: "bus.example", tls: false }],
    ["nats://10.0.0.1/", { address: "10.0.0.1:4222", host: "10.0.0.1", tls: false }],
    ["tls://bus.example", { address: "bus.example:4222", host: "bus.example", tls: true }],
    ["nats://[::1]:4333", { address: "[::1]:4333", host: "::1", tls: false }],
  ])("take %s for a server", (text, server) => {
    expect(complete({ servers: [text] }).servers).toEqual([server]);
  });

  it("use TLS for every server when it is set", () => {
    const { servers } = complete({ servers: ["nats://a", "tls://b"], tls: {} });
    expect(servers.map(({ tls }) => tls)).toEqual([true, true]);
  });

  it.each([
    ["servers", { servers: [] }],
    ["servers", { servers: ["127.0.0.1:4222"] }],
    ["servers", { servers: ["http://a"] }],
    ["servers", { servers: ["nats://"] }],
    ["servers", { servers: ["nats://a", "nats://b:x"] }],
    ["servers", { servers: ["nats://a/path"] }],
    ["servers", { servers: ["nats://a?tls=1"] }],
    ["tls", { tls: { certFile: "a" } }],
    ["tls", { tls: { keyFile: "a" } }],
    ["pendingMax", { pendingMax: 0 }],
    ["pingIntervalMs", { pingIntervalMs: Number.NaN }],
    ["connectTimeoutMs", { connectTimeoutMs: Infinity }],
  ] satisfies [string, Partial<NatsBusOptions>][])("are refused with the name of %s: %j", (field, options) => {
    expect(() => complete(options)).toThrow(expect.objectContaining({ code: "CONFIG_INVALID", message: expect.stringContaining(field) }));
  });

  it("keep credentials out of addresses, and out of what is said about it", () => {
    const attempt = () => complete({ servers: ["nats://user:hunter2@a:4222"] });
    expect(attempt).toThrow(/a:4222 holds credentials/);
    expect(attempt).not.toThrow(/hunter2/);
  });

  it("take no inbox prefix that is not a subject", () => {
    expect(() => complete({ inboxPrefix: "in.*" })).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  });
});
