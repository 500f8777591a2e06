import { expect, it } from "vitest";
import { SirsiError } from "../../../runtime/core/errors.ts";
import { FieldViolations } from "../../../runtime/core/field-violations.ts";

it("says nothing when all fields hold", () => {
  const wrong = new FieldViolations();
  wrong.require(true, "a", "must");
  wrong.requireId("0190f3c2-6b7e-7c31-8a51-3f0d5f0a9c11", "id");
  wrong.requireWithin(3, 1, 3, "n", "count");
  wrong.requireMap({ a: "1" }, 1, "m");
  expect(() => wrong.throwIfAny()).not.toThrow();
});

it("names every wrong field in one error", () => {
  const wrong = new FieldViolations();
  wrong.require(false, "a", "must be right");
  wrong.requireId("", "id");
  wrong.requireId("NOPE", "other_id");
  wrong.requireWithin(1.5, 1, 3, "n", "count");
  wrong.requireMap({ a: "1", b: "2" }, 1, "m");
  const thrown = (() => {
    try {
      return wrong.throwIfAny();
    } catch (error) {
      return error;
    }
  })();
  expect(thrown).toBeInstanceOf(SirsiError);
  const error = thrown as SirsiError;
  expect(error.code).toBe("INVALID_ARGUMENT");
  expect(error.details.fields?.map(({ field }) => field)).toEqual(["a", "id", "other_id", "n", "m"]);
  expect(error.message).toContain("5 fields");
  expect(error.message).toContain('"NOPE"');
});
