/**
 * ListAgents filters: CEL over the fields of an agent.
 *
 * A filter is parsed and type-checked once and kept. Checked like this, all that
 * can go wrong while it runs is a metadata key that an agent does not have, or a
 * time beyond the calendar; by CEL's own logic (`false && error` is false, `true ||
 * error` is true) what stays an error means "no match".
 *
 * Cost: length, nesting and patterns are bounded, nothing in the language costs
 * more than a pass over its input, `matches` runs on RE2 (no backtracking), and a
 * request's whole filtering has a time budget, giving way to other work between
 * agents.
 */
import { CelScalar, celEnv, isCelError, mapType, objectType, parse, plan, run } from "@bufbuild/cel";
import { TimestampSchema, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { AgentView } from "../agent/agents.ts";
import { BoundedCache } from "../core/bounded-cache.ts";
import type { Clock } from "../core/clock.ts";
import { SirsiError } from "../core/errors.ts";
import { typeOfFilter } from "./filter-types.ts";
import type { LiteralUse } from "./filter-types.ts";

const FILTERS_CACHED = 256;
const NESTING_MAX = 32;
/** Filtering lets other work go ahead after this long. */
const SLICE_MS = 10;
const BUDGET_MS = 2_000;

export type AgentPredicate = (view: AgentView) => boolean;

const { STRING } = CelScalar;
const TIMESTAMP = objectType(TimestampSchema);
const env = celEnv({
  variables: {
    agent_id: STRING,
    agent_type: STRING,
    state: STRING,
    parent_agent_id: STRING,
    module_version: STRING,
    metadata: mapType(STRING, STRING),
    created_at: TIMESTAMP,
    updated_at: TIMESTAMP,
  },
});

export class AgentFilters {
  readonly #maxChars: number;
  readonly #clock: Clock;
  readonly #compiled = new BoundedCache<string, AgentPredicate>(FILTERS_CACHED);

  constructor(maxChars: number, clock: Clock) {
    this.#maxChars = maxChars;
    this.#clock = clock;
  }

  /** The filter as a function; null for the empty one. FILTER_INVALID. */
  compile(filter: string): AgentPredicate | null {
    if (filter.trim() === "") return null;
    if (filter.length > this.#maxChars) throw filterInvalid(`it has ${filter.length} characters; a filter may have ${this.#maxChars} (limits.filter_max_chars)`, null);
    let predicate = this.#compiled.get(filter);
    if (predicate === undefined) {
      predicate = compileSafely(filter);
      this.#compiled.set(filter, predicate);
    }
    return predicate;
  }

  /** For one request. FILTER_INVALID. */
  begin(filter: string): Filtering {
    return new Filtering(this.compile(filter), this.#clock);
  }
}

/** One request's filtering, page by page; what it costs is counted together, the reading of the pages not. */
export class Filtering {
  readonly #predicate: AgentPredicate | null;
  readonly #clock: Clock;
  #spentMs = 0;
  #seen = 0;

  constructor(predicate: AgentPredicate | null, clock: Clock) {
    this.#predicate = predicate;
    this.#clock = clock;
  }

  /** Everything matches. */
  get empty(): boolean {
    return this.#predicate === null;
  }

  /** Those that match, in their order. */
  async matching(views: readonly AgentView[]): Promise<readonly AgentView[]> {
    const predicate = this.#predicate;
    if (predicate === null) return views;
    const matching: AgentView[] = [];
    let since = this.#clock.monotonic();
    for (const view of views) {
      if (predicate(view)) matching.push(view);
      this.#seen++;
      const took = this.#clock.monotonic() - since;
      if (took < SLICE_MS) continue;
      this.#spend(took);
      await new Promise((resolve) => setImmediate(resolve));
      since = this.#clock.monotonic();
    }
    this.#spend(this.#clock.monotonic() - since);
    return matching;
  }

  #spend(tookMs: number): void {
    this.#spentMs += tookMs;
    if (this.#spentMs > BUDGET_MS) throw filterInvalid(`it took longer than ${BUDGET_MS} ms over ${this.#seen} agents; use simpler patterns`, null);
  }
}

/** A host that allows very long filters may see one that exhausts the stack. */
function compileSafely(filter: string): AgentPredicate {
  try {
    return compileFilter(filter);
  } catch (thrown) {
    if (thrown instanceof SirsiError) throw thrown;
    throw filterInvalid("it is too deeply nested", null, thrown);
  }
}

function compileFilter(filter: string): AgentPredicate {
  requireShallow(filter);
  const parsed = parseFilter(filter);
  const placeOf = (exprId: bigint): number | null => parsed.sourceInfo?.positions[String(exprId)] ?? null;
  const outcome = typeOfFilter(parsed.expr);
  if (outcome.kind === "fault") throw filterInvalid(outcome.fault.message, place(filter, placeOf(outcome.fault.exprId)));
  if (outcome.type !== "bool") throw filterInvalid(`it gives ${outcome.type}; a filter says true or false`, place(filter, 0));
  for (const literal of outcome.literals) {
    const problem = problemOf(literal);
    if (problem !== null) throw filterInvalid(problem, place(filter, placeOf(literal.exprId)));
  }
  const evaluate = plan(env, parsed);
  return (view) =>
    evaluate({
      agent_id: view.record.agentId,
      agent_type: view.record.module,
      state: view.record.state,
      parent_agent_id: view.record.parentAgentId ?? "",
      module_version: view.manifest.version,
      metadata: new Map(Object.entries(view.record.metadata)),
      created_at: timestampFromMs(view.record.createdAt),
      updated_at: timestampFromMs(view.record.updatedAt),
    }) === true;
}

function parseFilter(filter: string): ReturnType<typeof parse> {
  try {
    return parse(filter);
  } catch (thrown) {
    const { rawMessage, location } = thrown as { rawMessage?: string; location?: { start: { offset: number } } };
    const message = rawMessage === undefined ? "it is too deeply nested or malformed" : briefly(rawMessage);
    throw filterInvalid(message, place(filter, location?.start.offset ?? null), thrown);
  }
}

/** The parser lists everything it would have taken; the first part says what is wrong. */
function briefly(message: string): string {
  return message.includes(" but expecting ") ? message.replace(/ but expecting .*$/s, " where it is not expected") : message;
}

/** The parser recurses; its stack is ours. */
function requireShallow(filter: string): void {
  let depth = 0;
  for (let at = 0; at < filter.length; at++) {
    const sign = filter[at];
    if (sign === "(" || sign === "[" || sign === "{") depth += 1;
    else if (sign === ")" || sign === "]" || sign === "}") depth -= 1;
    if (depth > NESTING_MAX) throw filterInvalid(`brackets may be nested ${NESTING_MAX} deep`, place(filter, at));
  }
}

function problemOf({ kind, text }: LiteralUse): string | null {
  const result = run(kind === "pattern" ? '"".matches(text)' : `${kind}(text)`, { text });
  return isCelError(result) ? `${kind} ${JSON.stringify(text)} is malformed: ${result.message}` : null;
}

interface Place {
  readonly line: number;
  readonly column: number;
}

function place(filter: string, offset: number | null): Place | null {
  if (offset === null) return null;
  // The parser's places of operators begin with the white space before them.
  const start = offset + (/^\s*/.exec(filter.slice(offset))?.[0].length ?? 0);
  const before = filter.slice(0, start).split("\n");
  return { line: before.length, column: (before.at(-1) ?? "").length + 1 };
}

function filterInvalid(problem: string, at: Place | null, cause?: unknown): SirsiError {
  const where = at === null ? "" : ` at line ${at.line}, column ${at.column}`;
  return new SirsiError("FILTER_INVALID", `the filter cannot be used${where}: ${problem}. Example: state == "READY" && metadata["team"] == "infra"`, {
    fields: [{ field: "filter", description: `${where.trim()}${where === "" ? "" : ": "}${problem}` }],
    ...(at === null ? {} : { metadata: { line: String(at.line), column: String(at.column) } }),
    cause,
  });
}
