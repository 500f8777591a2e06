import * as fc from "fast-check";
import { expect, it } from "vitest";
import type { AgentView } from "../../runtime/agent/agents.ts";
import { ManualClock } from "../../runtime/core/clock.ts";
import { SirsiError } from "../../runtime/core/errors.ts";
import { AgentFilters } from "../../runtime/hypervisor/agent-filter.ts";
import { FakeAgents, manifest } from "../support/fake-agents.ts";

/** True, false, or "the agent has no such key". */
type Verdict = boolean | "unknown";

/** A filter as text, and what it means, said a second time and naively. */
interface Meaning {
  readonly text: string;
  readonly verdict: (view: AgentView) => Verdict;
}

const KEYS = ["team", "tier", "odd key"];
const VALUES = ["infra", "", "é\"\\x", "in"];
const STATES = ["READY", "BUSY", "ERROR"] as const;
const NAMES = ["aws", "azure", "gcp"];

interface Text {
  readonly text: string;
  readonly of: (view: AgentView) => string | undefined;
}

const quoted = (value: string) => JSON.stringify(value);
const literal = fc.constantFrom(...VALUES, ...STATES, ...NAMES, "a", "1.0.0").map((value): Text => ({ text: quoted(value), of: () => value }));
const field = fc.constantFrom<Text>(
  { text: "state", of: ({ record }) => record.state },
  { text: "agent_type", of: ({ record }) => record.module },
  { text: "parent_agent_id", of: ({ record }) => record.parentAgentId ?? "" },
  { text: "module_version", of: (view) => view.manifest.version },
);
const metadata = fc.constantFrom(...KEYS).map((key): Text => ({ text: `metadata[${quoted(key)}]`, of: ({ record }) => record.metadata[key] }));
const text = fc.oneof(literal, field, metadata);

function over(texts: readonly Text[], shape: (parts: string[]) => string, test: (values: string[]) => boolean): Meaning {
  return {
    text: shape(texts.map((one) => one.text)),
    verdict: (view) => {
      const values = texts.map((one) => one.of(view));
      return values.every((value) => value !== undefined) ? test(values) : "unknown";
    },
  };
}

const compare = fc.constantFrom<[string, (a: string, b: string) => boolean]>(["==", (a, b) => a === b], ["!=", (a, b) => a !== b], ["<", (a, b) => a < b], [">=", (a, b) => a >= b]);
const method = fc.constantFrom<[string, (a: string, b: string) => boolean]>(["startsWith", (a, b) => a.startsWith(b)], ["endsWith", (a, b) => a.endsWith(b)], ["contains", (a, b) => a.includes(b)]);
const time = fc.integer({ min: -3, max: 3 });

const atom: fc.Arbitrary<Meaning> = fc.oneof(
  fc.tuple(text, compare, text).map(([a, [sign, test], b]) => over([a, b], ([x, y]) => `${x} ${sign} ${y}`, ([x, y]) => test(x!, y!))),
  fc.tuple(text, method, text).map(([a, [name, test], b]) => over([a, b], ([x, y]) => `${x}.${name}(${y})`, ([x, y]) => test(x!, y!))),
  fc.tuple(text, fc.array(literal, { minLength: 1, maxLength: 3 })).map(([a, list]) => over([a, ...list], ([x, ...rest]) => `${x} in [${rest.join(", ")}]`, ([x, ...rest]) => rest.includes(x!))),
  fc.constantFrom(...KEYS).map((key): Meaning => ({ text: `${quoted(key)} in metadata`, verdict: ({ record }) => Object.hasOwn(record.metadata, key) })),
  fc.constantFrom("team", "tier").map((key): Meaning => ({ text: `has(metadata.${key})`, verdict: ({ record }) => Object.hasOwn(record.metadata, key) })),
  fc.tuple(text, fc.integer({ min: 0, max: 5 })).map(([a, n]) => over([a], ([x]) => `size(${x}) > ${n}`, ([x]) => Array.from(x!).length > n)),
  fc.tuple(text, fc.constantFrom("^[a-z]+$", "R.*Y", "[0-9]")).map(([a, pattern]) => over([a], ([x]) => `${x}.matches(${quoted(pattern)})`, ([x]) => new RegExp(pattern).test(x!))),
  time.map((seconds): Meaning => {
    const at = new Date(1_750_000_000_000 + seconds * 1_000).toISOString();
    return { text: `updated_at > timestamp("${at}")`, verdict: ({ record }) => record.updatedAt > Date.parse(at) };
  }),
  fc.boolean().map((value): Meaning => ({ text: String(value), verdict: () => value })),
);

const not = (verdict: Verdict): Verdict => (verdict === "unknown" ? "unknown" : !verdict);
const both = (a: Verdict, b: Verdict): Verdict => (a === false || b === false ? false : a === "unknown" || b === "unknown" ? "unknown" : true);

const filter = fc.letrec<{ filter: Meaning }>((tie) => ({
  filter: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    atom,
    tie("filter").map((inner): Meaning => ({ text: `!(${inner.text})`, verdict: (view) => not(inner.verdict(view)) })),
    fc.tuple(tie("filter"), tie("filter")).map(([a, b]): Meaning => ({ text: `(${a.text}) && (${b.text})`, verdict: (view) => both(a.verdict(view), b.verdict(view)) })),
    fc.tuple(tie("filter"), tie("filter")).map(([a, b]): Meaning => ({ text: `(${a.text}) || (${b.text})`, verdict: (view) => not(both(not(a.verdict(view)), not(b.verdict(view)))) })),
  ),
})).filter;

const clock = new ManualClock();
const agents = new FakeAgents(clock);
const view = fc
  .record({
    name: fc.constantFrom(...NAMES),
    state: fc.constantFrom(...STATES),
    metadata: fc.dictionary(fc.constantFrom(...KEYS), fc.constantFrom(...VALUES)),
    parent: fc.constantFrom(null, "0190f3c2-6b7e-7c31-8a51-3f0d5f0a9c22"),
    updated: time,
  })
  .map(({ name, state, metadata: entries, parent, updated }) => {
    const made = agents.put(manifest(name), { sessionId: "s", metadata: { ...entries }, parentAgentId: parent }, { state, updatedAt: 1_750_000_000_000 + updated * 1_000 });
    agents.views.clear();
    return made;
  });

it("a filter lets through what its meaning, said naively, lets through", () => {
  const filters = new AgentFilters(65_536, clock);
  fc.assert(
    fc.property(filter, fc.array(view, { minLength: 1, maxLength: 8 }), (meaning, views) => {
      const predicate = filters.compile(meaning.text)!;
      for (const one of views) expect(predicate(one), `${meaning.text} on ${JSON.stringify(one.record)}`).toBe(meaning.verdict(one) === true);
    }),
    { numRuns: 500 },
  );
});

it("whatever text is given for a filter is either used or refused with FILTER_INVALID", () => {
  const filters = new AgentFilters(2_048, clock);
  const pieces = fc.constantFrom("state", "metadata", "agent_type", '"x"', "==", "&&", "||", "!", "(", ")", "[", "]", ".", "in", "size", "1", "has", "matches", ",", "?", ":", "{", "}", "-", "timestamp", " ");
  const one = agents.put(manifest("aws"), { sessionId: "s" });
  agents.views.clear();
  fc.assert(
    fc.property(fc.oneof(fc.array(pieces, { maxLength: 20 }).map((parts) => parts.join("")), fc.string({ unit: "binary", maxLength: 60 })), (source) => {
      try {
        const predicate = filters.compile(source);
        expect(typeof (predicate?.(one) ?? false)).toBe("boolean");
      } catch (thrown) {
        expect(thrown).toBeInstanceOf(SirsiError);
        expect((thrown as SirsiError).code).toBe("FILTER_INVALID");
      }
    }),
    { numRuns: 2_000 },
  );
});
