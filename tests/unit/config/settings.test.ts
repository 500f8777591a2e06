import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { GRANTABLE, SETTINGS, clientEnvironment, configurationReference, exampleFile, formatAddress, loadConfig, parseAddress } from "../../../runtime/config/index.ts";
import { HOST_CAPABILITIES } from "../../../runtime/module/revision.ts";

const committed = (path: string) => readFileSync(new URL(`../../../${path}`, import.meta.url), "utf8");

describe("the settings table", () => {
  it("has every key, variable and flag once", () => {
    for (const names of [SETTINGS.map((s) => s.key), SETTINGS.flatMap((s) => s.env ?? []), SETTINGS.flatMap((s) => s.flag ?? [])]) {
      expect(names.toSorted()).toEqual([...new Set(names)].toSorted());
    }
  });

  it("keeps the names that earlier configuration files use", () => {
    const keys = SETTINGS.map((setting) => setting.key);
    for (const name of ["max_concurrent_agents", "session_timeout_seconds", "wasm_module_path"]) expect(keys).toContain(`agent_service.${name}`);
    for (const name of ["servers", "topic_prefix"]) expect(keys).toContain(`event_bus.${name}`);
  });

  it("knows the capabilities that the module layer knows", () => {
    expect(GRANTABLE).toEqual(HOST_CAPABILITIES);
  });

  it("is what docs/configuration.md says (run `node scripts/generate-docs.ts`)", () => {
    expect(committed("docs/configuration.md")).toBe(configurationReference());
  });

  it("is what sirsi.toml.example says (run `node scripts/generate-docs.ts`)", () => {
    expect(committed("sirsi.toml.example")).toBe(exampleFile());
  });

  it("gives an example file that, uncommented, says what the defaults say", () => {
    const dir = mkdtempSync(join(tmpdir(), "sirsi-example-"));
    try {
      const plain = loadConfig({ cwd: dir, env: {}, cores: 2 });
      writeFileSync(join(dir, "sirsi.toml"), exampleFile().replaceAll(/^#(?=[a-z])/gm, ""));
      const { settings, file, ...stated } = loadConfig({ cwd: dir, env: {}, cores: 2 });
      const { settings: _settings, file: _file, ...defaults } = plain;
      expect(stated).toEqual(defaults);
      expect(file).toBe(join(dir, "sirsi.toml"));
      expect(settings.filter((setting) => setting.source.kind === "default").map((setting) => setting.key)).toEqual(["modules.grants"]);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
});

describe("an address", () => {
  it.each(["127.0.0.1:0", "[::1]:50051", "localhost:65535"])("%s is read and written back the same", (text) => {
    const outcome = parseAddress(text);
    expect(outcome.kind === "address" && formatAddress(outcome.address)).toBe(text);
  });

  it.each(["", ":80", "host", "::1:80", "[::1]", "[::1", "a b:1", "host:port", "host:-1"])("%j is refused", (text) => {
    expect(parseAddress(text).kind).toBe("problem");
  });
});

describe("what the command line takes from the environment", () => {
  it("is address, session and colour, empty ones counting as none", () => {
    expect(clientEnvironment({ SIRSI_ADDRESS: "h:1", SIRSI_SESSION: "s", NO_COLOR: "1" })).toEqual({ address: "h:1", session: "s", noColor: true });
    expect(clientEnvironment({ SIRSI_ADDRESS: "", NO_COLOR: "" })).toEqual({ address: null, session: null, noColor: false });
  });
});
