/**
 * The types of the filter language: what may stand in a ListAgents filter, checked
 * before it runs, so that a wrong filter is refused with its place, whatever agents
 * there are. Only what costs no more than a pass over its input is in it: no
 * comprehensions, no string building.
 */
import type { parse } from "@bufbuild/cel";

export type FilterType = "bool" | "int" | "double" | "string" | "timestamp" | "duration" | "map" | "list of string" | "list of int" | "list of timestamp" | "empty list";

type Expr = ReturnType<typeof parse>["expr"];
type Call = Extract<Expr["exprKind"], { case: "callExpr" }>["value"];

export const FILTER_VARIABLES: Readonly<Record<string, FilterType>> = {
  agent_id: "string",
  agent_type: "string",
  state: "string",
  parent_agent_id: "string",
  module_version: "string",
  metadata: "map",
  created_at: "timestamp",
  updated_at: "timestamp",
};

/** A literal that must be sound for the filter to be: it is tried before the filter runs. */
export interface LiteralUse {
  readonly kind: "timestamp" | "duration" | "pattern";
  readonly text: string;
  readonly exprId: bigint;
}

export interface TypeFault {
  readonly message: string;
  readonly exprId: bigint;
}

export type TypeOutcome = { readonly kind: "sound"; readonly type: FilterType; readonly literals: readonly LiteralUse[] } | { readonly kind: "fault"; readonly fault: TypeFault };

/** Thrown and caught in this file alone. */
class Fault {
  readonly fault: TypeFault;

  constructor(message: string, exprId: bigint) {
    this.fault = { message, exprId };
  }
}

const PATTERN_MAX_CHARS = 256;

export function typeOfFilter(expr: Expr): TypeOutcome {
  const literals: LiteralUse[] = [];
  try {
    return { kind: "sound", type: typeOf(expr, literals), literals };
  } catch (thrown) {
    if (thrown instanceof Fault) return { kind: "fault", fault: thrown.fault };
    throw thrown;
  }
}

function typeOf(expr: Expr, literals: LiteralUse[]): FilterType {
  const { exprKind, id } = expr;
  switch (exprKind.case) {
    case "constExpr":
      return typeOfConstant(exprKind.value.constantKind.case, id);
    case "identExpr": {
      const { name } = exprKind.value;
      const type = Object.hasOwn(FILTER_VARIABLES, name) ? FILTER_VARIABLES[name] : undefined;
      if (type === undefined) throw new Fault(`${name} is not a field of an agent; use ${Object.keys(FILTER_VARIABLES).join(", ")}`, id);
      return type;
    }
    case "selectExpr": {
      const { operand, field, testOnly } = exprKind.value;
      const type = operand === undefined ? undefined : typeOf(operand, literals);
      if (type !== "map") throw new Fault(`.${field} works only on metadata`, id);
      return testOnly ? "bool" : "string";
    }
    case "listExpr":
      return typeOfList(exprKind.value.elements, id, literals);
    case "callExpr":
      return typeOfCall(exprKind.value, id, literals);
    default:
      throw new Fault("maps and the macros all, exists, exists_one, map and filter are not part of the filter language", id);
  }
}

function typeOfConstant(kind: string | undefined, id: bigint): FilterType {
  switch (kind) {
    case "boolValue":
      return "bool";
    case "int64Value":
      return "int";
    case "doubleValue":
      return "double";
    case "stringValue":
      return "string";
    default:
      throw new Fault("only true, false, numbers and strings may stand here", id);
  }
}

function typeOfList(elements: readonly Expr[], id: bigint, literals: LiteralUse[]): FilterType {
  let element: FilterType | null = null;
  for (const item of elements) {
    const type = typeOf(item, literals);
    if (element !== null && element !== type) throw new Fault(`a list holds values of one type; this one has ${element} and ${type}`, item.id);
    element = type;
  }
  if (element === null) return "empty list";
  if (element === "string" || element === "int" || element === "timestamp") return `list of ${element}`;
  throw new Fault(`a list of ${element} is not part of the filter language`, id);
}

const ORDERED: ReadonlySet<FilterType> = new Set(["int", "double", "string", "timestamp", "duration"]);
const SIGNS: Readonly<Record<string, string>> = { "_<_": "<", "_<=_": "<=", "_>_": ">", "_>=_": ">=", "_==_": "==", "_!=_": "!=", "_&&_": "&&", "_||_": "||", "_+_": "+", "_-_": "-", "@in": "in", "!_": "!", "-_": "-", "_[_]": "[]", "_?_:_": "?:" };

function typeOfCall(call: Call, id: bigint, literals: LiteralUse[]): FilterType {
  const types = call.args.map((arg) => typeOf(arg, literals));
  const name = SIGNS[call.function] ?? call.function;
  if (call.target !== undefined) return typeOfMethod(call, id, typeOf(call.target, literals), types, literals);
  const [left, right] = types;
  const holds = (held: boolean, type: FilterType): FilterType => {
    if (held) return type;
    throw new Fault(`${name} does not work on ${types.join(" and ")}`, id);
  };
  switch (call.function) {
    case "_&&_":
    case "_||_":
    case "!_":
      return holds(types.every((type) => type === "bool"), "bool");
    case "_==_":
    case "_!=_":
      return holds(left === right || (isList(left) && isList(right)), "bool");
    case "_<_":
    case "_<=_":
    case "_>_":
    case "_>=_":
      return holds(left === right && left !== undefined && ORDERED.has(left), "bool");
    case "@in":
      return holds((right === "map" && left === "string") || right === `list of ${left}` || right === "empty list", "bool");
    case "_[_]":
      return holds(left === "map" && right === "string", "string");
    case "_?_:_":
      return types[0] === "bool" && right !== undefined && right === types[2] ? right : holds(false, "bool");
    case "_+_":
    case "_-_":
      return typeOfSum(call.function === "_-_", left, right) ?? holds(false, "bool");
    case "-_":
      return left === "int" ? "int" : holds(left === "double", "double");
    case "size":
      return holds(isSized(left) && types.length === 1, "int");
    case "timestamp":
    case "duration": {
      const type = call.function;
      if (types.length === 1 && left === type) return type;
      literals.push({ kind: type, text: literalOf(call.args[0], type, id), exprId: id });
      return type;
    }
    default:
      throw new Fault(`${name} is not part of the filter language`, id);
  }
}

function typeOfMethod(call: Call, id: bigint, target: FilterType, types: readonly FilterType[], literals: LiteralUse[]): FilterType {
  const name = call.function;
  if (name === "size" && types.length === 0 && isSized(target)) return "int";
  if (name !== "startsWith" && name !== "endsWith" && name !== "contains" && name !== "matches") {
    throw new Fault(`.${name}() is not part of the filter language; use startsWith, endsWith, contains, matches or size`, id);
  }
  if (target !== "string" || types.length !== 1 || types[0] !== "string") throw new Fault(`.${name}() works on a string and takes one string`, id);
  if (name === "matches") {
    const text = literalOf(call.args[0], "matches", id);
    if (text.length > PATTERN_MAX_CHARS) throw new Fault(`a pattern may have ${PATTERN_MAX_CHARS} characters; this one has ${text.length}`, id);
    literals.push({ kind: "pattern", text, exprId: id });
  }
  return "bool";
}

function typeOfSum(minus: boolean, left: FilterType | undefined, right: FilterType | undefined): FilterType | null {
  if (left === "timestamp" && right === "duration") return "timestamp";
  if (left === "duration" && right === "duration") return "duration";
  if (minus && left === "timestamp" && right === "timestamp") return "duration";
  if (!minus && left === "duration" && right === "timestamp") return "timestamp";
  return null;
}

/** Patterns and times are literals, so that they can be tried once, before any agent is looked at. */
function literalOf(expr: Expr | undefined, name: string, id: bigint): string {
  const kind = expr?.exprKind;
  if (kind?.case === "constExpr" && kind.value.constantKind.case === "stringValue") return kind.value.constantKind.value;
  throw new Fault(`${name} takes a string written out in quotes`, id);
}

function isSized(type: FilterType | undefined): boolean {
  return type === "string" || type === "map" || isList(type);
}

function isList(type: FilterType | undefined): boolean {
  return type === "empty list" || type?.startsWith("list of ") === true;
}
