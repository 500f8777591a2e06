import { readFileSync, readdirSync } from "node:fs";
import { join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { findViolations } from "../support/architecture.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));

function runtimeSources(): Map<string, string> {
  const names = readdirSync(join(root, "runtime"), { recursive: true, encoding: "utf8" });
  const files = names
    .map((name) => join(root, "runtime", name))
    .filter((path) => path.endsWith(".ts") && !path.includes(`${sep}contract${sep}gen${sep}`));
  return new Map(files.map((path) => [relative(root, path).split(sep).join("/"), readFileSync(path, "utf8")]));
}

/** The rules that these files break, as "rule file:line". */
function broken(files: Record<string, string>): string[] {
  return findViolations(new Map(Object.entries(files))).map(({ rule, file, line }) => `${rule} ${file}:${line}`);
}

describe("the runtime", () => {
  it("keeps every rule of the house", () => {
    const sources = runtimeSources();
    expect(sources.size).toBeGreaterThan(20);
    const found = findViolations(sources).map(({ file, line, rule, detail }) => `${file}:${line} ${rule}: ${detail}`);
    expect(found).toEqual([]);
  });
});

describe("an import", () => {
  const target = { "runtime/agent/agent.ts": "export const a = 1;" };

  it.each([
    ["of a value", `import { a } from "../agent/agent.ts";`],
    ["of a type", `import type { a } from "../agent/agent.ts";`],
    ["passed on", `export { a } from "../agent/agent.ts";`],
    ["of all, passed on", `export * from "../agent/agent.ts";`],
    ["made while running", `const later = () => import("../agent/agent.ts");`],
    ["inside of a type", `let a: import("../agent/agent.ts").a;`],
  ])("upwards, %s, is refused", (_kind, source) => {
    expect(broken({ "runtime/store/store.ts": `\n${source}`, ...target })).toEqual(["import runtime/store/store.ts:2"]);
  });

  it("downwards, within a layer, and of a package is fine", () => {
    const source = `import "../store/store.ts"; import "./b.ts"; import { x } from "pino"; import "node:fs";`;
    expect(broken({ "runtime/agent/a.ts": source, "runtime/agent/b.ts": "export {};", "runtime/store/store.ts": "export {};" })).toEqual([]);
  });

  it("of the host is refused to the client", () => {
    expect(broken({ "runtime/client/a.ts": `import "../contract/x.ts";\nimport "../store/store.ts";` })).toEqual(["import runtime/client/a.ts:2"]);
  });

  it("of one gateway by another is refused, of what they share is not", () => {
    expect(broken({ "runtime/gateway/grpc/a.ts": `import "../listen.ts";\nimport "../http/b.ts";` })).toEqual(["import runtime/gateway/grpc/a.ts:2"]);
  });

  it("of anything is open to the command line", () => {
    expect(broken({ "runtime/cli/a.ts": `import "../gateway/grpc/index.ts"; import "../client/index.ts";` })).toEqual([]);
  });

  it("that leaves the runtime, or names no layer, is refused", () => {
    expect(broken({ "runtime/core/a.ts": `import "../../scripts/x.ts";\nimport "../misc/y.ts";` })).toEqual(["import runtime/core/a.ts:1", "import runtime/core/a.ts:2"]);
  });

  it("in a circle is refused, types included", () => {
    const found = findViolations(
      new Map([
        ["runtime/core/b.ts", `import "./c.ts";`],
        ["runtime/core/a.ts", `import type { B } from "./b.ts";`],
        ["runtime/core/c.ts", `import "./a.ts";`],
      ]),
    );
    expect(found.map(({ rule, detail }) => [rule, detail])).toEqual([["cycle", "runtime/core/a.ts -> runtime/core/b.ts -> runtime/core/c.ts -> runtime/core/a.ts"]]);
  });

  it("that only stands in a comment or a text counts for nothing", () => {
    expect(broken({ "runtime/core/a.ts": `// import "../cli/main.ts"\nconst text = 'import "../cli/main.ts"; throw new Error("x"); process.env.HOME';` })).toEqual([]);
  });
});

describe("a source", () => {
  it("over 500 lines is refused", () => {
    expect(broken({ "runtime/core/a.ts": "let x;\n".repeat(500), "runtime/core/b.ts": "let y;\n".repeat(501) })).toEqual(["file-length runtime/core/b.ts:0"]);
  });

  it.each(["function f() {%\n}", "const f = () => {%\n};", "class C { m() {%\n} }"])("with a function over 70 lines is refused: %s", (shape) => {
    const lines = (n: number) => shape.replace("%", "\n0;".repeat(n));
    expect(broken({ "runtime/core/a.ts": lines(68) })).toEqual([]);
    expect(broken({ "runtime/core/a.ts": lines(69) })).toEqual(["function-length runtime/core/a.ts:1"]);
  });

  it.each(["process.env", "process.env.HOME", "process['env']"])("that reads %s outside of config is refused", (expression) => {
    const source = `export const x = ${expression};`;
    const files = ["runtime/core/a.ts", "runtime/config/environment.ts", "runtime/cli/main.ts", "runtime/cli/serve.ts"];
    expect(broken(Object.fromEntries(files.map((file) => [file, source])))).toEqual(["environment runtime/core/a.ts:1", "environment runtime/cli/serve.ts:1"]);
  });

  it.each(["Date.now()", "performance.now()", "new Date()", "[Date.now]"])("that reads the clock by %s is refused", (expression) => {
    const source = `export const x = ${expression};`;
    expect(broken({ "runtime/agent/a.ts": source, "runtime/core/clock.ts": source })).toEqual(["clock runtime/agent/a.ts:1"]);
  });

  it("may turn a given time into a date", () => {
    expect(broken({ "runtime/agent/a.ts": "export const text = (ms: number) => new Date(ms).toISOString();" })).toEqual([]);
  });

  it.each([`throw new Error("x");`, `throw new TypeError("x");`, `new Promise((_, reject) => reject(new Error("x")));`, `Promise.reject(new Error("x"));`])(
    "that fails with a plain error is refused: %s",
    (source) => {
      expect(broken({ "runtime/agent/a.ts": source })).toEqual(["plain-error runtime/agent/a.ts:1"]);
    },
  );

  it("may throw an error of ours", () => {
    expect(broken({ "runtime/agent/a.ts": `throw new SirsiError("INTERNAL", "x", { cause: new Error("y") });` })).toEqual([]);
  });

  it.each(["TODO", "FIXME"])("with a %s is refused", (word) => {
    expect(broken({ "runtime/core/a.ts": `let x;\n// ${word} later` })).toEqual(["to-do runtime/core/a.ts:2"]);
  });

  it.each(["string-utils.ts", "worker.ts", "plugin-host.ts", "session-manager.ts"])("named %s is refused", (name) => {
    expect(broken({ [`runtime/core/${name}`]: "" })).toEqual([`file-name runtime/core/${name}:0`]);
  });

  it.each(["Ids.ts", "message_id.ts", "messageId.ts"])("named %s, not kebab-case, is refused", (name) => {
    expect(broken({ [`runtime/core/${name}`]: "", "runtime/core/message-id.ts": "", "runtime/core/webassembly.d.ts": "" })).toEqual([`file-name runtime/core/${name}:0`]);
  });
});
