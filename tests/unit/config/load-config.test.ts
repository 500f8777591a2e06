import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { describeSource, loadConfig } from "../../../runtime/config/index.ts";
import type { Config, LoadOptions } from "../../../runtime/config/index.ts";
import { DEFAULT_GUEST_LIMITS, DEFAULT_HOST_LIMITS } from "../../../runtime/core/limits.ts";
import { SirsiError } from "../../../runtime/core/errors.ts";

const root = mkdtempSync(join(tmpdir(), "sirsi-config-"));
afterAll(() => rmSync(root, { recursive: true }));

let count = 0;

/** Loads from a directory of its own, with this sirsi.toml in it. */
function load(toml: string | null, options: LoadOptions = {}): { config: Config; dir: string } {
  const dir = mkdtempSync(join(root, `case-${count++}-`));
  if (toml !== null) writeFileSync(join(dir, "sirsi.toml"), toml);
  return { config: loadConfig({ env: {}, cwd: dir, cores: 4, ...options }), dir };
}

function problem(toml: string | null, options: LoadOptions = {}): string {
  try {
    load(toml, options);
  } catch (error) {
    expect(error).toBeInstanceOf(SirsiError);
    expect((error as SirsiError).code).toBe("CONFIG_INVALID");
    return (error as SirsiError).message;
  }
  throw new Error("the configuration was taken");
}

function sourceOf(config: Config, key: string): string {
  const setting = config.settings.find((candidate) => candidate.key === key);
  return setting === undefined ? `no setting ${key}` : describeSource(setting.source);
}

describe("the defaults", () => {
  it("are complete, frozen and those of the limits table", () => {
    const { config, dir } = load(null);
    expect(config).toMatchObject({
      file: null,
      grpc: { listen: { host: "127.0.0.1", port: 50051 } },
      http: { listen: { host: "127.0.0.1", port: 8080 } },
      bus: { servers: [], topicPrefix: "sirsi.agents" },
      store: { dataDir: join(dir, ".sirsi") },
      modules: { directory: join(dir, "modules"), watch: true, defaultGrants: ["ask", "sleep", "timers", "documents"], grants: {} },
      shards: { count: 3 },
      log: { level: "info", format: "json" },
      guestLimits: DEFAULT_GUEST_LIMITS,
      hostLimits: DEFAULT_HOST_LIMITS,
      warnings: [],
    });
    expect(Object.isFrozen(config) && Object.isFrozen(config.agents.restart.backoff) && Object.isFrozen(config.settings[0])).toBe(true);
    expect(new Set(config.settings.map((setting) => setting.source.kind))).toEqual(new Set(["default"]));
  });

  it("use one shard on one core and pretty logs on a terminal", () => {
    const { config } = load(null, { cores: 1, terminal: true });
    expect(config.shards.count).toBe(1);
    expect(config.log.format).toBe("pretty");
  });
});

describe("where a value comes from", () => {
  const toml = '[grpc]\n# the port\nlisten = "127.0.0.1:7001"\nchannelz = true\n\n[agents.restart]\nmax_restarts = 9\n[modules.grants]\nrelay = ["ask"]\n';

  it("a flag goes before the environment, that before the file, that before the default", () => {
    const env = { SIRSI_GRPC_LISTEN: "127.0.0.1:7002" };
    expect(load(toml, { env, flags: { "--grpc-listen": "127.0.0.1:7003" } }).config.grpc.listen.port).toBe(7003);
    expect(load(toml, { env }).config.grpc.listen.port).toBe(7002);
    expect(load(toml).config.grpc.listen.port).toBe(7001);
    expect(load("").config.grpc.listen.port).toBe(50051);
  });

  it("is told for every value, with the file's line", () => {
    const { config, dir } = load(toml, { env: { SIRSI_SHARDS_COUNT: "2" }, flags: { "--log-level": "warn" } });
    expect(sourceOf(config, "grpc.listen")).toBe(`${join(dir, "sirsi.toml")}:3`);
    expect(sourceOf(config, "agents.restart.max_restarts")).toBe(`${join(dir, "sirsi.toml")}:7`);
    expect(sourceOf(config, "modules.grants")).toBe(`${join(dir, "sirsi.toml")}:8`);
    expect(sourceOf(config, "shards.count")).toBe("env SIRSI_SHARDS_COUNT");
    expect(sourceOf(config, "log.level")).toBe("flag --log-level");
    expect(sourceOf(config, "http.listen")).toBe("default");
    expect(config.modules.grants).toEqual({ relay: ["ask"] });
  });

  it("a dotted key at the top is the same setting, with its line", () => {
    const { config, dir } = load('\ngrpc.channelz = true\n"log".level = "warn"\n');
    expect(config.grpc.channelz).toBe(true);
    expect(sourceOf(config, "grpc.channelz")).toBe(`${join(dir, "sirsi.toml")}:2`);
    expect(sourceOf(config, "log.level")).toBe(`${join(dir, "sirsi.toml")}:3`);
  });

  it("a setting inside an inline table has the file without a line", () => {
    const { config, dir } = load("grpc = { channelz = true }\n");
    expect(config.grpc.channelz).toBe(true);
    expect(sourceOf(config, "grpc.channelz")).toBe(join(dir, "sirsi.toml"));
  });

  it("an empty variable counts as none", () => {
    expect(load(null, { env: { SIRSI_GRPC_LISTEN: "", SIRSI_CONFIG: "" } }).config.grpc.listen.port).toBe(50051);
  });
});

describe("the file", () => {
  it("is the one --config names, before SIRSI_CONFIG, before ./sirsi.toml", () => {
    const dir = mkdtempSync(join(root, "files-"));
    for (const [name, level] of [["sirsi.toml", "trace"], ["named.toml", "warn"], ["env.toml", "error"]] as const) {
      writeFileSync(join(dir, name), `[log]\nlevel = "${level}"\n`);
    }
    const level = (file: string | undefined, env: Record<string, string>) => loadConfig({ cwd: dir, env, file }).log.level;
    expect(level("named.toml", { SIRSI_CONFIG: "env.toml" })).toBe("warn");
    expect(level(undefined, { SIRSI_CONFIG: "env.toml" })).toBe("error");
    expect(level(undefined, {})).toBe("trace");
  });

  it("must exist when it is named", () => {
    expect(problem(null, { file: "missing.toml" })).toMatch(/missing\.toml does not exist/);
    expect(problem(null, { env: { SIRSI_CONFIG: "missing.toml" } })).toMatch(/missing\.toml does not exist/);
  });

  it("gives its directory to the relative paths in it; elsewhere they stand on the working directory", () => {
    const dir = mkdtempSync(join(root, "paths-"));
    const file = join(dir, "elsewhere.toml");
    writeFileSync(file, '[store]\ndata_dir = "data"\n');
    const config = loadConfig({ cwd: root, env: { SIRSI_AGENT_SERVICE_WASM_MODULE_PATH: "mods" }, file });
    expect(config.store.dataDir).toBe(join(dir, "data"));
    expect(config.modules.directory).toBe(join(root, "mods"));
  });

  it("with a mistake in its TOML is refused at the line and column", () => {
    expect(problem("[grpc]\nlisten = \n")).toMatch(/sirsi\.toml:2:\d+: /);
  });
});

describe("what is refused", () => {
  it.each([
    ["an unknown key, with the nearest", "[grpc]\nlisten_on = 1", /sirsi\.toml:2: there is no setting grpc\.listen_on; the nearest is grpc\.listen/],
    ["an unknown section, with the nearest", "[sesions]\nmax = 1", /there is no setting sesions; the nearest is sessions/],
    ["a section that is no table", "grpc = 1", /grpc is a section/],
    ["a date where a section is wanted", "grpc = 2020-01-01", /grpc is a section/],
    ["a number out of range, with the range", "[shards]\ncount = 0", /shards\.count is 0; the range is 1 to 256/],
    ["a fraction", "[shards]\ncount = 1.5", /must be a whole number from 1 to 256, not 1\.5/],
    ["text for a number", '[shards]\ncount = "two"', /whole number/],
    ["a number for a flag", "[modules]\nwatch = 1", /modules\.watch must be true or false, not 1/],
    ["an unknown choice, with the nearest", '[log]\nlevel = "warning"', /one of trace.*did you mean warn\?/],
    ["an empty path", '[store]\ndata_dir = ""', /must be a path/],
    ["an address without a port", '[grpc]\nlisten = "127.0.0.1"', /is not host:port/],
    ["a port too high", '[grpc]\nlisten = "127.0.0.1:70000"', /port 70000/],
    ["an address that is no text", "[grpc]\nlisten = 50051", /must be host:port, not 50051/],
    ["all interfaces", '[grpc]\nlisten = "0.0.0.0:50051"', /no TLS and no authentication/],
    ["all IPv6 interfaces", '[http]\nlisten = "[::]:8080"', /no TLS and no authentication/],
    ["a name that only starts like loopback", '[http]\nlisten = "127.0.0.1.example.com:8080"', /no TLS and no authentication/],
    ["the same port twice", '[http]\nlisten = "127.0.0.1:50051"', /same port as grpc\.listen/],
    ["a subject prefix with a wildcard", '[event_bus]\ntopic_prefix = "sirsi.*"', /tokens of letters/],
    ["a list that is none", '[modules]\ndefault_grants = "ask"', /list of strings/],
    ["a list of numbers", "[modules]\ndefault_grants = [1]", /only strings/],
    ["an unknown grant", '[modules]\ndefault_grants = ["asc"]', /it may hold ask, sleep, timers, documents \(did you mean ask\?\)/],
    ["an unknown grant of a module", '[modules.grants]\necho = ["http"]', /modules\.grants has echo, which holds "http"/],
    ["grants that are no table", "[modules]\ngrants = 1", /must be a table/],
    ["a default above the policy", "[limits]\nmailbox_depth = 50\n[limits.policy]\nmailbox_depth = 10", /limits\.mailbox_depth \(50\) is more than limits\.policy\.mailbox_depth \(10\)/],
    ["a first backoff above the longest", "[agents.restart]\nbackoff_max_ms = 5", /sirsi\.toml:2: agents\.restart\.backoff_first_ms \(100\) is more than agents\.restart\.backoff_max_ms \(5\)/],
  ])("%s", (_name, toml, expected) => {
    expect(problem(toml)).toMatch(expected);
  });

  it("a key that would reach a prototype", () => {
    expect(problem("[__proto__]\nx = 1")).toMatch(/sirsi\.toml/);
  });

  it("a flag that does not exist", () => {
    expect(problem(null, { flags: { "--nope": "1" } })).toMatch(/no such flag/);
  });

  it("everything at once, in one error with one field each", () => {
    const text = problem('[grpc]\nlisten = 5\nfoo = 1\n[shards]\ncount = -1\n', { env: { SIRSI_LOG_LEVEL: "loud" } });
    expect(text).toMatch(/^4 settings cannot be used:\n/);
    for (const part of ["grpc.listen must", "no setting grpc.foo", "shards.count is -1", "env SIRSI_LOG_LEVEL: log.level must"]) expect(text).toContain(part);
  });
});

describe("text from the environment and flags", () => {
  it.each([
    ["SIRSI_LIMITS_FUEL_PER_STEP", "20_000", (config: Config) => config.guestLimits.fuelPerStep, 20_000],
    ["SIRSI_LIMITS_POLICY_MAILBOX_DEPTH", "2000", (config: Config) => config.guestPolicy.mailboxDepth, 2000],
    ["SIRSI_SESSIONS_MAX", "7", (config: Config) => config.hostLimits.maxSessions, 7],
    ["SIRSI_GRPC_CHANNELZ", "TRUE", (config: Config) => config.grpc.channelz, true],
    ["SIRSI_MODULES_WATCH", "0", (config: Config) => config.modules.watch, false],
    ["SIRSI_MODULES_DEFAULT_GRANTS", "sleep, ask,sleep", (config: Config) => config.modules.defaultGrants, ["sleep", "ask"]],
    ["SIRSI_HTTP_LISTEN", "[::1]:0", (config: Config) => config.http.listen, { host: "::1", port: 0 }],
    ["SIRSI_GRPC_LISTEN", "localhost:0", (config: Config) => config.grpc.listen, { host: "localhost", port: 0 }],
    ["SIRSI_EVENT_BUS_TOPIC_PREFIX", "acme", (config: Config) => config.bus.topicPrefix, "acme"],
  ])("%s=%s gets its type", (name, value, read, expected) => {
    expect(read(load(null, { env: { [name]: value } }).config)).toEqual(expected);
  });

  it.each([
    ["SIRSI_SHARDS_COUNT", "two"],
    ["SIRSI_SHARDS_COUNT", "0x2"],
    ["SIRSI_GRPC_CHANNELZ", "maybe"],
  ])("%s=%s is refused by name", (name, value) => {
    expect(problem(null, { env: { [name]: value } })).toContain(`env ${name}: `);
  });

  it("a SIRSI_ variable that names nothing is warned of, not refused", () => {
    const { config } = load(null, { env: { SIRSI_GRPC_LISEN: "x", SIRSI_ADDRESS: "127.0.0.1:1", PATH: "/bin" } });
    expect(config.warnings).toEqual([expect.stringMatching(/SIRSI_GRPC_LISEN is not a setting.*nearest is SIRSI_GRPC_LISTEN/)]);
  });
});
