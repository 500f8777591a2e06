/** sirsi.fleet.toml, the example of a fleet, and what `--fleet` asks of a configuration. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { SETTINGS, loadConfig } from "../../../runtime/config/index.ts";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const home = mkdtempSync(join(tmpdir(), "sirsi-fleet-file-"));
afterAll(() => rmSync(home, { recursive: true }));

describe("sirsi.fleet.toml", () => {
  it("is the configuration of a host in a fleet, as it stands", () => {
    const config = loadConfig({ cwd: ROOT, env: {}, fleet: true });
    expect(config.file).toBe(join(ROOT, "sirsi.fleet.toml"));
    expect(config.fleet).toMatchObject({ zone: "a", labels: { disk: "ssd" }, leaseMs: 3_000 });
    expect(config.bus.servers).toHaveLength(3);
    expect(config.bus.login.kind).toBe("password");
    expect(config.store.url).toMatch(/^postgres:/);
    expect(config.warnings).toEqual([]);
  });

  it("speaks of every setting that makes a fleet", () => {
    const text = readFileSync(join(ROOT, "sirsi.fleet.toml"), "utf8");
    const wanted = SETTINGS.map(({ key }) => key).filter((key) => /^(?:fleet|event_bus|context|store)\./.test(key));
    const missing = wanted.filter((key) => !new RegExp(`^#?${key.split(".").at(-1)} = `, "m").test(text));
    expect(missing).toEqual([]);
  });
});

describe("--fleet", () => {
  const refusal = (env: Record<string, string>, file?: string) => {
    try {
      loadConfig({ cwd: home, env, file, fleet: true });
    } catch (error) {
      return (error as Error).message;
    }
    return "";
  };

  it("refuses a configuration without a fleet, and says which file was read or was not there", () => {
    expect(refusal({})).toMatch(/^--fleet: the configuration has no fleet: store\.url and event_bus\.servers are empty \(no configuration file was read, for there is no sirsi\.fleet\.toml in the working directory\); set both/);
    writeFileSync(join(home, "other.toml"), "");
    expect(refusal({}, "other.toml")).toMatch(/other\.toml was read\); set both/);
  });

  it("takes a fleet from the environment alone, as containers give it", () => {
    const env = { SIRSI_STORE_URL: "postgres://u:p@h/db", SIRSI_EVENT_BUS_SERVERS: "nats://h" };
    expect(loadConfig({ cwd: home, env, fleet: true }).file).toBeNull();
  });

  it("does not read sirsi.toml, and without it sirsi.fleet.toml is not read", () => {
    writeFileSync(join(home, "sirsi.toml"), "[log]\nlevel = \"trace\"\n");
    expect(refusal({})).toMatch(/no configuration file was read/);
    expect(loadConfig({ cwd: home, env: {} }).log.level).toBe("trace");
  });
});
