import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { SETTINGS, describeSource, loadConfig } from "../../../runtime/config/index.ts";
import type { Config, Environment } from "../../../runtime/config/index.ts";
import { SirsiError } from "../../../runtime/core/errors.ts";

const home = mkdtempSync(join(tmpdir(), "sirsi-fleet-config-"));
afterAll(() => rmSync(home, { recursive: true }));

const FLEET = { SIRSI_STORE_URL: "postgres://sirsi:hunter2@db:5432/sirsi", SIRSI_EVENT_BUS_SERVERS: "nats://a:4222, tls://b" };

function load(env: Environment, flags: Readonly<Record<string, string>> = {}): Config {
  return loadConfig({ env, flags, cwd: home });
}

function problem(env: Environment): string {
  try {
    load(env);
  } catch (error) {
    expect(error).toBeInstanceOf(SirsiError);
    expect((error as SirsiError).code).toBe("CONFIG_INVALID");
    return (error as SirsiError).message;
  }
  throw new Error("the configuration was taken");
}

/** A file in the working directory, by its name. */
function file(name: string, content: string): string {
  writeFileSync(join(home, name), content);
  return name;
}

function shown(config: Config, key: string): unknown {
  return config.settings.find((setting) => setting.key === key)?.value;
}

describe("a host in a fleet", () => {
  it("has a database and NATS servers; a host without them is in none", () => {
    expect(load({})).toMatchObject({ fleet: null, store: { url: null }, bus: { servers: [], login: { kind: "none" }, tls: null } });
    const config = load(FLEET);
    expect(config.store).toMatchObject({ url: FLEET.SIRSI_STORE_URL, connections: 8 });
    expect(config.bus.servers).toEqual(["nats://a:4222", "tls://b"]);
    expect(config.fleet).toMatchObject({ zone: "", labels: {}, leaseMs: 3_000, advertiseGrpc: null, advertiseHttp: null });
  });

  it.each(["SIRSI_STORE_URL", "SIRSI_EVENT_BUS_SERVERS"] as const)("is refused with %s alone, and told what is missing and why", (name) => {
    expect(problem({ [name]: FLEET[name] })).toMatch(/is set and (?:store\.url|event_bus\.servers) is not; a host in a fleet needs both, for .* or leave .* empty/);
  });

  it("has a name of its own for each data directory, the same at every start", () => {
    const nameOf = (dataDir: string) => load({ ...FLEET, SIRSI_STORE_DATA_DIR: dataDir }).fleet?.hostName ?? "";
    expect(nameOf("a")).toMatch(/^[A-Za-z0-9][A-Za-z0-9_-]*-[0-9a-f]{6}$/);
    expect(nameOf("a")).toBe(nameOf("a"));
    expect(nameOf("a")).not.toBe(nameOf("b"));
  });

  it("takes its name and zone from flags, and the rest from the environment", () => {
    const env = { ...FLEET, SIRSI_FLEET_LABELS: "disk=ssd, gpu = none", SIRSI_FLEET_LEASE_MS: "5000", SIRSI_FLEET_ADVERTISE_GRPC: "h1.example.com:443" };
    const { fleet } = load(env, { "--host-name": "h1", "--zone": "z1" });
    expect(fleet).toEqual({ hostName: "h1", zone: "z1", labels: { disk: "ssd", gpu: "none" }, leaseMs: 5_000, advertiseGrpc: "h1.example.com:443", advertiseHttp: null });
  });

  it("is warned of what has no effect outside a fleet", () => {
    const { warnings } = load({ SIRSI_FLEET_ZONE: "z1", SIRSI_EVENT_BUS_TOKEN: "t", SIRSI_EVENT_BUS_TOPIC_PREFIX: "acme" });
    expect(warnings).toEqual([expect.stringMatching(/SIRSI_EVENT_BUS_TOKEN: event_bus\.token has no effect/), expect.stringMatching(/fleet\.zone has no effect, for this host is in no fleet/)]);
    expect(load({ ...FLEET, SIRSI_FLEET_ZONE: "z1" }).warnings).toEqual([]);
  });
});

describe("the login to NATS", () => {
  it.each([
    [{ SIRSI_EVENT_BUS_TOKEN: "t0" }, { kind: "token", token: "t0" }],
    [{ SIRSI_EVENT_BUS_USER: "u", SIRSI_EVENT_BUS_PASSWORD: "p w" }, { kind: "password", user: "u", password: "p w" }],
    [{ SIRSI_EVENT_BUS_NKEY_FILE: "seed" }, { kind: "nkey", seedFile: join(home, "seed") }],
    [{ SIRSI_EVENT_BUS_CREDS_FILE: "creds" }, { kind: "creds", file: join(home, "creds") }],
  ])("%o", (env, login) => {
    expect(load({ ...FLEET, ...env }).bus.login).toEqual(login);
  });

  it("has the TLS files that are named, and no others", () => {
    expect(load({ ...FLEET, SIRSI_EVENT_BUS_TLS_CA_FILE: "ca.pem" }).bus.tls).toEqual({ caFile: join(home, "ca.pem") });
  });

  it.each([
    ["two ways at once", { SIRSI_EVENT_BUS_TOKEN: "t", SIRSI_EVENT_BUS_CREDS_FILE: "c" }, /event_bus\.creds_file and event_bus\.token are two ways to log in/],
    ["a user without a password", { SIRSI_EVENT_BUS_USER: "u" }, /event_bus\.user is set and event_bus\.password is not; a user needs a password/],
    ["a password without a user", { SIRSI_EVENT_BUS_PASSWORD: "p" }, /event_bus\.password is set and event_bus\.user is not/],
    ["a certificate without its key", { SIRSI_EVENT_BUS_TLS_CERT_FILE: "c" }, /tls_cert_file is set and event_bus\.tls_key_file is not/],
  ])("is refused with %s", (_name, env, expected) => {
    expect(problem({ ...FLEET, ...env })).toMatch(expected);
  });
});

describe("what is refused", () => {
  it.each([
    ["servers of another protocol", { SIRSI_EVENT_BUS_SERVERS: "http://a" }, /must hold only nats:\/\/host:port or tls:\/\/host:port without a login; entry 1 is something else/],
    ["a database of another kind", { SIRSI_STORE_URL: "mysql://a/b" }, /store\.url must be postgres:\/\/user:password@host/],
    ["a lease that nobody could keep", { ...FLEET, SIRSI_FLEET_LEASE_MS: "10" }, /1000 to 60000/],
    ["a host name with a space", { ...FLEET, SIRSI_FLEET_HOST_NAME: "a b" }, /fleet\.host_name must be letters, digits/],
    ["an address without a port", { ...FLEET, SIRSI_FLEET_ADVERTISE_HTTP: "h1" }, /"h1"/],
    ["a label without a text", { ...FLEET, SIRSI_FLEET_LABELS: "ssd" }, /fleet\.labels has ssd, which must be 1 to 253 characters/],
    ["a label with a strange name", { ...FLEET, SIRSI_FLEET_LABELS: "a b=c" }, /a name is made of letters/],
    ["a label called zone", { ...FLEET, SIRSI_FLEET_LABELS: "zone=a" }, /set fleet\.zone/],
  ])("%s", (_name, env, expected) => {
    expect(problem(env)).toMatch(expected);
  });

  it("labels that are no table of texts in a file", () => {
    expect(problem({ SIRSI_CONFIG: file("labels.toml", "[fleet]\nlabels = 5\n") })).toMatch(/labels\.toml:2: fleet\.labels must be a table of NAME = "text", not 5/);
    expect(problem({ SIRSI_CONFIG: file("numbers.toml", "[fleet.labels]\ndisk = 5\n") })).toMatch(/has disk, which must be 1 to 253 characters/);
  });
});

describe("a secret", () => {
  it("is covered where settings are shown, with what is none of it left readable", () => {
    const config = load({ ...FLEET, SIRSI_EVENT_BUS_TOKEN: "hunter3" });
    expect(shown(config, "store.url")).toBe("postgres://sirsi:***@db:5432/sirsi");
    expect(shown(config, "event_bus.token")).toBe("***");
    const redis = load({ SIRSI_CONTEXT_REDIS_URL: "rediss://:pw@cache:6379/1", SIRSI_CONTEXT_EXCHANGES_KEPT: "200", SIRSI_CONTEXT_TTL_SECONDS: "60" });
    expect(shown(redis, "context.redis_url")).toBe("rediss://:***@cache:6379/1");
    // No more than the store has.
    expect(redis.context).toEqual({ redisUrl: "rediss://:pw@cache:6379/1", ttlMs: 60_000, exchangesKept: 100 });
    expect(shown(config, "event_bus.password")).toBe("");
    expect(JSON.stringify(config.settings)).not.toMatch(/hunter/);
  });

  it.each([
    ["postgres://u:p@ss/w:rd@a:1,b:2/db?sslmode=require", "postgres://u:***@a:1,b:2/db?sslmode=require"],
    ["postgres://:pw@h/db", "postgres://:***@h/db"],
    ["postgres://u@h/db?password=pw&sslmode=require&sslpassword=pw", "postgres://u@h/db?password=***&sslmode=require&sslpassword=***"],
    ["postgres://u@h/db", "postgres://u@h/db"],
  ])("in the URL %s is shown as %s", (url, expected) => {
    expect(shown(load({ ...FLEET, SIRSI_STORE_URL: url }), "store.url")).toBe(expected);
  });

  it("comes from the file that its twin names, without the line break at its end", () => {
    const config = load({ ...FLEET, SIRSI_STORE_URL: "", SIRSI_STORE_URL_FILE: file("url", "postgres://u:pw@h/db\n"), SIRSI_EVENT_BUS_TOKEN_FILE: file("token", "t1\r\n") });
    expect(config.store.url).toBe("postgres://u:pw@h/db");
    expect(config.bus.login).toEqual({ kind: "token", token: "t1" });
    const setting = config.settings.find(({ key }) => key === "store.url");
    expect(setting?.value).toBe("postgres://u:***@h/db");
    expect(setting === undefined ? "" : describeSource(setting.source)).toBe("env SIRSI_STORE_URL_FILE");
  });

  it.each([
    ["is there as well", { SIRSI_STORE_URL: FLEET.SIRSI_STORE_URL, SIRSI_STORE_URL_FILE: "both" }, /store\.url_file and store\.url \(env SIRSI_STORE_URL\) are both set; keep one/],
    ["is in a file that is not there", { SIRSI_STORE_URL_FILE: "missing" }, /store\.url_file names .*missing, which cannot be read \(ENOENT\)/],
    ["is in a file that is empty", { SIRSI_STORE_URL_FILE: file("empty", "\n") }, /which is empty; put the secret into it/],
    ["has the wrong form", { SIRSI_STORE_URL_FILE: file("wrong", "hunter4") }, /whose content must be postgres:\/\/.*; what it is now is not shown/],
  ])("is refused when it %s, without being quoted", (_name, env, expected) => {
    const text = problem({ SIRSI_EVENT_BUS_SERVERS: "nats://a", ...env });
    expect(text).toMatch(expected);
    expect(text).not.toMatch(/hunter|\n/);
  });

  it("is not quoted when it is refused in the environment or a list", () => {
    expect(problem({ SIRSI_STORE_URL: "mysql://u:hunter5@h/db" })).not.toMatch(/hunter/);
    expect(problem({ SIRSI_EVENT_BUS_SERVERS: "nats://u:hunter6@h" })).not.toMatch(/hunter/);
  });

  it("has a twin that names a file, and no flag", () => {
    const secrets = SETTINGS.filter(({ secret }) => secret !== null);
    expect(secrets.map(({ key }) => key)).toEqual(expect.arrayContaining(["event_bus.token", "event_bus.password", "store.url"]));
    for (const { key, flag } of secrets) {
      expect(flag).toBeNull();
      expect(SETTINGS.find((setting) => setting.key === `${key}_file`)?.kind.type).toBe("file");
    }
  });
});
