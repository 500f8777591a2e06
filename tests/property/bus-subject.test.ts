import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SubjectIndex } from "../../runtime/bus/memory/subject-index.ts";
import { MAX_SUBJECT_CHARS, isPattern, isSubject, matchesSubject, requirePattern, requireSubject } from "../../runtime/bus/subject.ts";

/** Few tokens, so that patterns and subjects often meet. */
const token = fc.constantFrom("a", "b", "c", "ü");
const subjectOf = fc.array(token, { minLength: 1, maxLength: 5 }).map((tokens) => tokens.join("."));
const patternOf = fc
  .tuple(fc.array(fc.oneof(token, fc.constant("*")), { minLength: 0, maxLength: 5 }), fc.boolean())
  .filter(([tokens, rest]) => tokens.length > 0 || rest)
  .map(([tokens, rest]) => [...tokens, ...(rest ? [">"] : [])].join("."));

/** The rules, as a regular expression over the whole text. */
function naiveMatch(pattern: string, subject: string): boolean {
  const source = pattern.split(".").map((part) => (part === "*" ? "[^.]+" : part === ">" ? ".+" : part)).join("\\.");
  return new RegExp(`^${source}$`, "u").test(subject);
}

/** The rules of form, token by token. */
function naiveForm(text: string, wildcards: boolean): boolean {
  const tokens = text.split(".");
  return text.length <= MAX_SUBJECT_CHARS && tokens.every((part, at) => {
    if (wildcards && (part === "*" || (part === ">" && at === tokens.length - 1))) return true;
    return part !== "" && Array.from(part).every((char) => !"*>".includes(char) && !/\s/u.test(char) && !/\p{Cc}/u.test(char));
  });
}

const anyText = fc.oneof(
  fc.array(fc.constantFrom("a", ".", "*", ">", " ", "\n", "\u0000", "é", "🦉"), { maxLength: 8 }).map((chars) => chars.join("")),
  fc.string({ unit: "binary", maxLength: 12 }),
  subjectOf,
  patternOf,
);

describe("a subject", () => {
  it("is matched as a naive matcher does", () => {
    fc.assert(fc.property(patternOf, subjectOf, (pattern, subject) => {
      expect(matchesSubject(pattern, subject)).toBe(naiveMatch(pattern, subject));
    }), { numRuns: 2_000 });
  });

  it("is accepted exactly when every token is well formed", () => {
    fc.assert(fc.property(anyText, (text) => {
      expect(isSubject(text)).toBe(naiveForm(text, false));
      expect(isPattern(text)).toBe(naiveForm(text, true));
    }), { numRuns: 2_000 });
  });

  it("that is refused is refused with a reason, and one that is accepted comes back", () => {
    fc.assert(fc.property(anyText, (text) => {
      for (const [check, require] of [[isSubject, requireSubject], [isPattern, requirePattern]] as const) {
        if (check(text)) expect(require(text)).toBe(text);
        else expect(() => require(text)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT", message: expect.stringMatching(/: .{8,}\.$/) }));
      }
    }), { numRuns: 1_000 });
  });

  it.each([
    ["", "it is empty"], ["a b", "white space"], ["a..b", "two dots meet"], ["a.>.b", "only be the last token"], ["a*", "whole tokens"],
    ["x".repeat(MAX_SUBJECT_CHARS + 1), "characters"],
  ])("is refused for its own fault: %j", (text, fault) => {
    expect(() => requirePattern(text)).toThrow(fault);
  });

  it("with a wildcard is refused where a message is to be sent", () => {
    expect(() => requireSubject("a.*")).toThrow("name it in full");
  });
});

describe("the index of subscriptions", () => {
  it("finds what the matcher finds, also after some were removed, and ends empty", () => {
    const entries = fc.array(fc.record({ pattern: fc.oneof(patternOf, subjectOf), removed: fc.boolean() }), { maxLength: 30 });
    fc.assert(fc.property(entries, fc.array(subjectOf, { maxLength: 10 }), (added, subjects) => {
      const index = new SubjectIndex<{ pattern: string; removed: boolean }>();
      for (const entry of added) index.add(entry.pattern, entry);
      for (const entry of added) if (entry.removed) index.remove(entry.pattern, entry);
      const left = added.filter((entry) => !entry.removed);
      for (const subject of subjects) {
        const wanted = left.filter((entry) => naiveMatch(entry.pattern, subject));
        const found = index.match(subject);
        expect(found).toHaveLength(wanted.length);
        expect(new Set(found)).toEqual(new Set(wanted));
      }
      for (const entry of added) index.remove(entry.pattern, entry);
      expect(index.empty).toBe(true);
    }), { numRuns: 500 });
  });
});
