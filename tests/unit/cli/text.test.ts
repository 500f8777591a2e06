import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { describe, expect, it } from "vitest";
import { bytes, cell, cleanText, fields, pairs, table, time } from "../../../runtime/cli/text.ts";

describe("a table", () => {
  it("aligns its columns and leaves the last one ragged", () => {
    expect(table(["ID", "STATE"], [["1", "READY"], ["1234", ""]])).toBe("ID    STATE\n1     READY\n1234  -\n");
  });

  it("counts wide characters as two columns", () => {
    expect(table(["A", "B"], [["日本", "x"], ["abcd", "y"]])).toBe("A     B\n日本  x\nabcd  y\n");
  });

  it("is its headers alone without rows", () => {
    expect(table(["A", "B"], [])).toBe("A  B\n");
  });
});

describe("text from elsewhere", () => {
  it("cannot steer the terminal", () => {
    expect(cleanText("\u001b[31mred\u0007\u009b\u202eabc")).not.toMatch(/\p{Cc}|\p{Bidi_Control}/u);
    expect(cell("a\u001b]0;title\u0007")).not.toMatch(/\p{Cc}/u);
  });

  it("keeps its lines where lines are wanted and loses them in a cell", () => {
    expect(cleanText("a\r\n\tb")).toBe("a\n\tb");
    expect(cell(" a\r\n\t b ")).toBe("a b");
    expect(cell(" \n")).toBe("-");
  });
});

describe("fields", () => {
  it("align values and indent their further lines", () => {
    expect(fields([["a", "1"], ["long", "2\n3\n"], ["none", ""]])).toBe("a     1\nlong  2\n      3\nnone  -\n");
  });
});

describe("small values", () => {
  it("are short", () => {
    expect(pairs({ b: "2", a: 1.23456 })).toBe("a=1.235 b=2");
    expect(time(timestampFromMs(Date.UTC(2026, 0, 31, 9, 30, 0, 123)))).toBe("2026-01-31 09:30:00Z");
    expect(time(undefined)).toBe("");
    expect([0, 1023, 1024, 1536, 5 * 1024 ** 3].map(bytes)).toEqual(["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "5.0 GiB"]);
  });
});
