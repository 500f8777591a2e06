import * as fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { BUILD_TIMEOUT_MS, builtFixture } from "../support/built-agents.ts";
import { Guest } from "../support/guest.ts";

let module: WebAssembly.Module;
let guest: Guest;

beforeAll(async () => {
  ({ module } = await builtFixture("json-probe"));
  guest = fresh();
}, BUILD_TIMEOUT_MS);

function fresh(): Guest {
  const made = new Guest(module);
  made.init();
  return made;
}

const bytesOf = (input: string | Uint8Array) => (typeof input === "string" ? new TextEncoder().encode(input) : input);

/** What a task answers, as text; an error as "!" and its message. */
function run(name: string, input: string | Uint8Array, on = guest): string {
  const result = on.call({ case: "task", value: { name, input: bytesOf(input) } });
  if (result.case === "task") return new TextDecoder().decode(result.value.output);
  return result.case === "error" ? `!${result.value.message}` : String(result.case);
}

describe("the SDK's reader", () => {
  test("reads what JSON.stringify writes, and writes it so that JSON.parse reads the same", () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 6, stringUnit: "binary" }), (text) => {
        expect(JSON.parse(run("copy", text))).toEqual(JSON.parse(text));
      }),
      { numRuns: 500 },
    );
  });

  test("a number is the f64 nearest to its text, whatever its length and exponent", () => {
    const digits = fc.stringMatching(/^(0|[1-9][0-9]{0,24})(\.[0-9]{1,24})?$/);
    const written = fc.tuple(fc.constantFrom("", "-"), digits, fc.integer({ min: -340, max: 320 })).map(([sign, number, exponent]) => `${sign}${number}e${exponent}`);
    fc.assert(
      fc.property(fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }).map(String), written), (text) => {
        // -0 is written as 0, as JSON.stringify does.
        const value = Number(text) + 0;
        expect(JSON.parse(run("copy", text))).toBe(Number.isFinite(value) ? value : null);
      }),
      { numRuns: 1_000 },
    );
    const long = ["9.431686855220182e43", "5e-324", "2.4703282292062327e-324", "2.4703282292062328e-324", "1.7976931348623157e308", "1.7976931348623159e308", "9007199254740993.0", "9007199254740995.0", `0.${"0".repeat(400)}1`, `${"1".repeat(900)}e-880`, `9007199254740993.${"0".repeat(850)}1`, "2.2250738585072011e-308", "4.4501477170144023e-308"];
    for (const text of long) expect([text, JSON.parse(run("copy", text))]).toEqual([text, Number.isFinite(Number(text)) ? Number(text) : null]);
  });

  test("whole numbers of 64 bits are exact", () => {
    for (const text of ["9223372036854775807", "-9223372036854775808", "9007199254740993"]) expect(run("copy", text)).toBe(text);
  });

  test("text comes back from every escape and every plane", () => {
    expect(run("copy", String.raw`"\"\\\/\b\f\n\r\té𝄞é"`)).toBe(String.raw`"\"\\/\u0008\u000c\u000a\u000d\u0009é𝄞é"`);
    expect(run("path a", String.raw`{"\u0061":"\ud834\udd1e"}`)).toBe("𝄞");
  });

  test("names lead to values; the last of a repeated name counts; what is missing is missing", () => {
    const text = '{"a":{"b":[10,{"c":"deep"}]},"é":1,"a2":null,"x":1,"x":2}';
    expect(run("path a.b.1.c", text)).toBe("deep");
    expect(run("path é", text)).toBe("1");
    expect(run("path x", text)).toBe("2");
    expect(run("path a2", text)).toBe("null");
    expect(run("path a.b.9.c", text)).toBe("missing");
  });

  test.each([
    ["", "line 1, column 1: the text ends too early: expected a value"],
    ["[1,]", "line 1, column 4: expected a value"],
    ['{"a" 1}', 'line 1, column 6: expected ":" after a member name'],
    ['{"a":1,}', "line 1, column 8: expected a member name in double quotes"],
    ['{"é":\n\n  ?}', "line 3, column 3: expected a value"],
    ['["é",?]', "line 1, column 6: expected a value"],
    ["01", "line 1, column 1: a number must not begin with 0"],
    ["[1.]", "line 1, column 4: expected a digit after the decimal point"],
    ["1e", "line 1, column 3: the text ends too early: expected a digit in the exponent"],
    ["nul", "line 1, column 1: expected a value; the words are true, false and null"],
    ["[1] x", "line 1, column 5: there is something after the end of the value"],
    ["[1}", 'line 1, column 3: expected "," or "]" after an element'],
    [String.raw`"\x"`, "line 1, column 2: a backslash is followed by what is not an escape"],
    ['"\u0001"', "line 1, column 2: text holds a control character; write it as an escape"],
    ['"abc', "line 1, column 5: the text ends too early: text has no closing quote"],
  ])("%s: says where and why", (text, message) => {
    expect(run("copy", text)).toBe(`!${message}`);
  });

  test("text that is not UTF-8 is a fault", () => {
    expect(run("copy", Uint8Array.of(0x22, 0xed, 0xa0, 0x80, 0x22))).toBe("!line 1, column 2: text is not UTF-8");
  });

  test("nesting is bounded, at no cost of stack", () => {
    expect(run("count", "[".repeat(128) + "]".repeat(128))).toBe("1");
    expect(run("count", "[".repeat(1_000_000))).toBe("!line 1, column 129: arrays and objects are nested more than 128 deep");
  });

  test("mutated bytes agree with JSON.parse on what is JSON, and never trap", () => {
    const mutation = fc.tuple(fc.json({ maxDepth: 4, stringUnit: "binary" }), fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 3 }));
    fc.assert(
      fc.property(mutation, ([text, edits]) => {
        const bytes = bytesOf(text);
        for (const [at, byte] of edits) bytes[at % bytes.length] = byte;
        expect(run("copy", bytes).startsWith("!")).toBe(!isJson(bytes));
      }),
      { numRuns: 2_000 },
    );
  });
});

function isJson(bytes: Uint8Array): boolean {
  try {
    JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    return true;
  } catch {
    return false;
  }
}

describe("json-as with this compiler", () => {
  const point = (text: string) => run("point", text, fresh());

  test("reads and writes the classes of authors, in every plane", () => {
    expect(JSON.parse(point('{"x":1,"y":-2,"label":"é𝄞\\n\\u00e9","scores":[1.5,2]}'))).toEqual({ x: 1, y: -2, label: "é𝄞\né", scores: [1.5, 2] });
  });

  test.each([
    ["a number beyond i32 wraps without a word", '{"x":99999999999}', 1_215_752_191],
    ["a fraction read as i32 is nonsense", '{"x":1.5}', 85],
    ["text where a number should be is left out", '{"x":"a"}', 0],
  ])("%s, so hostile input belongs to the SDK's reader", (_what, text, x) => {
    expect(JSON.parse(point(text))).toMatchObject({ x });
  });

  test.each([["cut off", '{"x":1'], ["empty", ""], ["nested without end", `{"x":1,"z":${"[".repeat(100_000)}`]])("input that is %s traps", (_what, text) => {
    expect(() => point(text)).toThrow(/json-as/);
  });
});
