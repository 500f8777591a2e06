/**
 * The house rules that a machine can check, as a pure function over source files.
 * Real syntax trees, so that a comment or a string is never taken for code.
 */
import { basename, dirname, posix } from "node:path";
import { parseAst } from "vitest/node";

export interface Violation {
  readonly file: string;
  /** 0 when it is about the whole file. */
  readonly line: number;
  readonly rule: string;
  readonly detail: string;
}

/** From the bottom up. A file may import its own layer and those before it. */
const LAYERS = ["core", "contract", "config", "observe", "module", "sandbox", "store", "bus", "capability", "agent", "session", "fleet", "hypervisor", "gateway", "client", "cli"];
/** The client is installed without a host, so it may know only these. */
const CLIENT_MAY_IMPORT = new Set(["client", "contract", "core"]);

const LINES_MAX = 500;
const FUNCTION_LINES_MAX = 70;
const BANNED_WORDS = new Set(["util", "utils", "helper", "helpers", "common", "manager", "impl", "plugin", "actor", "worker", "executor"]);
const KEBAB = /^[a-z0-9]+(?:-[a-z0-9]+)*(?:\.d)?\.ts$/;
const CLOCK_FILE = "runtime/core/clock.ts";
/** The one place outside config/ that may hand the environment on. */
const ENVIRONMENT_PLACE = "runtime/cli/main.ts";
/** Stands in for WebAssembly.Memory.grow, which fails with a RangeError. */
const RANGE_ERROR_PLACE = "runtime/module/admission-thread.ts";
const PLAIN_ERRORS = new Set(["Error", "TypeError", "RangeError", "SyntaxError", "AggregateError"]);

interface Node {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly [key: string]: unknown;
}

interface Source {
  readonly file: string;
  readonly text: string;
  readonly violations: Violation[];
  readonly imports: string[];
}

/** `files` maps a path from the project's root ("runtime/core/ids.ts") to its text. */
export function findViolations(files: ReadonlyMap<string, string>): Violation[] {
  const violations: Violation[] = [];
  const graph = new Map<string, readonly string[]>();
  for (const [file, text] of files) {
    const source: Source = { file, text, violations, imports: [] };
    checkFile(source);
    walk(parseAst(text, { lang: file.endsWith(".d.ts") ? "dts" : "ts" }, file) as unknown as Node, null, (node, parent) => checkNode(node, parent, source));
    graph.set(file, source.imports);
  }
  return [...violations, ...findCycles(graph)];
}

function report(source: Source, rule: string, detail: string, node?: Node): void {
  const line = node === undefined ? 0 : source.text.slice(0, node.start).split("\n").length;
  source.violations.push({ file: source.file, line, rule, detail });
}

function walk(node: Node, parent: Node | null, visit: (node: Node, parent: Node | null) => void): void {
  visit(node, parent);
  for (const value of Object.values(node)) {
    for (const child of Array.isArray(value) ? value : [value]) {
      if (typeof child === "object" && child !== null && typeof (child as Node).type === "string") walk(child as Node, node, visit);
    }
  }
}

function checkFile(source: Source): void {
  const { file, text } = source;
  const name = basename(file);
  const lines = text.split("\n").length - 1;
  if (lines > LINES_MAX) report(source, "file-length", `${lines} lines; at most ${LINES_MAX}`);
  if (!KEBAB.test(name)) report(source, "file-name", `${name} is not kebab-case`);
  const banned = name.replace(/\.ts$/, "").split(/[.-]/).filter((word) => BANNED_WORDS.has(word));
  if (banned.length > 0) report(source, "file-name", `${banned.join(", ")} says nothing, or is not a word of this project`);
  for (const [at, line] of text.split("\n").entries()) {
    if (/\b(?:TODO|FIXME)\b/.test(line)) source.violations.push({ file, line: at + 1, rule: "to-do", detail: line.trim() });
  }
}

function checkNode(node: Node, parent: Node | null, source: Source): void {
  switch (node.type) {
    case "ImportDeclaration":
    case "ExportNamedDeclaration":
    case "ExportAllDeclaration":
    case "ImportExpression":
    case "TSImportType":
      return checkImport(node, source);
    case "FunctionDeclaration":
    case "FunctionExpression":
    case "ArrowFunctionExpression":
      return checkFunctionLength(node, source);
    case "MemberExpression":
      return checkMember(node, source);
    case "NewExpression":
      return checkNew(node, parent, source);
    default:
  }
}

function stringOf(node: unknown): string | null {
  const literal = node as { type?: string; value?: unknown } | null | undefined;
  return literal?.type === "Literal" && typeof literal.value === "string" ? literal.value : null;
}

function checkImport(node: Node, source: Source): void {
  const specifier = stringOf(node["source"]);
  if (specifier === null || !specifier.startsWith(".")) return;
  const target = posix.normalize(posix.join(dirname(source.file), specifier));
  source.imports.push(target);
  const problem = importProblem(source.file, target);
  if (problem !== null) report(source, "import", `${specifier}: ${problem}`, node);
}

function importProblem(file: string, target: string): string | null {
  const [fromRoot, from = "", fromPart] = file.split("/");
  const [toRoot, to = "", toPart] = target.split("/");
  if (fromRoot !== "runtime") return null;
  if (toRoot !== "runtime") return `runtime imports nothing from ${toRoot ?? "elsewhere"}`;
  if (!LAYERS.includes(to)) return `${to} is not a layer`;
  if (from === "cli") return null;
  if (from === "client") return CLIENT_MAY_IMPORT.has(to) ? null : `the client may import only contract and core`;
  if (LAYERS.indexOf(to) > LAYERS.indexOf(from)) return `${from} is below ${to}`;
  const bothInParts = from === "gateway" && to === "gateway" && file.split("/").length > 3 && target.split("/").length > 3;
  return bothInParts && fromPart !== toPart ? `gateways do not import each other` : null;
}

function checkFunctionLength(node: Node, source: Source): void {
  const lines = source.text.slice(node.start, node.end).split("\n").length;
  if (lines > FUNCTION_LINES_MAX) report(source, "function-length", `${lines} lines; at most ${FUNCTION_LINES_MAX}`, node);
}

function nameOf(node: unknown): string {
  const { type, name } = node as { type?: string; name?: unknown };
  return type === "Identifier" && typeof name === "string" ? name : "";
}

function checkMember(node: Node, source: Source): void {
  const property = node["computed"] === true ? (stringOf(node["property"]) ?? "") : nameOf(node["property"]);
  const path = `${nameOf(node["object"])}.${property}`;
  const { file } = source;
  if (path === "process.env" && !file.startsWith("runtime/config/") && file !== ENVIRONMENT_PLACE) {
    report(source, "environment", `process.env is read in runtime/config alone`, node);
  }
  if ((path === "Date.now" || path === "performance.now") && file !== CLOCK_FILE) {
    report(source, "clock", `${path} is read in ${CLOCK_FILE} alone; take a Clock`, node);
  }
}

function checkNew(node: Node, parent: Node | null, source: Source): void {
  const name = nameOf(node["callee"]);
  if (name === "Date" && (node["arguments"] as unknown[]).length === 0 && source.file !== CLOCK_FILE) {
    report(source, "clock", `new Date() reads the clock; take a Clock`, node);
  }
  if (!PLAIN_ERRORS.has(name) || parent === null || (name === "RangeError" && source.file === RANGE_ERROR_PLACE)) return;
  if (parent.type === "ThrowStatement" || isReject(parent, source)) report(source, "plain-error", `throw a SirsiError instead of a plain ${name}`, node);
}

function isReject(node: Node, source: Source): boolean {
  if (node.type !== "CallExpression") return false;
  const { start, end } = node["callee"] as Node;
  return /(?:^|\.)#?reject$/.test(source.text.slice(start, end));
}

/** One violation for each circle of imports, told from its first file in the alphabet. */
function findCycles(graph: ReadonlyMap<string, readonly string[]>): Violation[] {
  const done = new Set<string>();
  const found = new Map<string, Violation>();
  const visit = (file: string, path: readonly string[]): void => {
    const at = path.indexOf(file);
    if (at >= 0) {
      const circle = path.slice(at);
      const first = circle.toSorted()[0] as string;
      const turned = [...circle.slice(circle.indexOf(first)), ...circle.slice(0, circle.indexOf(first)), first];
      found.set(turned.join(), { file: first, line: 0, rule: "cycle", detail: turned.join(" -> ") });
      return;
    }
    if (done.has(file)) return;
    for (const target of graph.get(file) ?? []) visit(target, [...path, file]);
    done.add(file);
  };
  for (const file of graph.keys()) visit(file, []);
  return [...found.values()];
}
