import { describe, expect, it } from "vitest";
import { SirsiError } from "../../../runtime/core/errors.ts";
import { isId, isMessageId, newId, requireId } from "../../../runtime/core/ids.ts";

// Later than any other id of this process, so that each test holds the time alone.
let time = 4_000_000_000_000;
const nextTime = () => (time += 1_000_000);

describe("a new id", () => {
  it("is a UUID of version 7 that carries its time", () => {
    const now = nextTime();
    const id = newId(now);
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(parseInt(id.replaceAll("-", "").slice(0, 12), 16)).toBe(now);
  });

  it("rises strictly within a millisecond, past the counter's end too", () => {
    const now = nextTime();
    const ids = Array.from({ length: 10_000 }, () => newId(now));
    expect(ids.toSorted()).toEqual(ids);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it("rises when the clock goes back", () => {
    const now = nextTime();
    const before = newId(now);
    expect(newId(now - 5_000) > before).toBe(true);
  });

  it("differs in its random part from the next", () => {
    const now = nextTime();
    expect(newId(now).slice(-12)).not.toBe(newId(now).slice(-12));
  });
});

describe("an id that came from outside", () => {
  const id = "0190f3c2-6b7e-7c31-8a51-3f0d5f0a9c11";

  it("is taken when it is a lower-case UUID", () => {
    expect(requireId(id, "agent_id")).toBe(id);
  });

  it.each(["", "x", id.toUpperCase(), ` ${id}`, `${id}\n`, `${id}0`, id.replaceAll("-", "")])("is refused by the name of its field otherwise: %j", (text) => {
    expect(isId(text)).toBe(false);
    const refuse = () => requireId(text, "agent_id");
    expect(refuse).toThrow(SirsiError);
    expect(refuse).toThrow(/^agent_id must be an id/);
    try {
      refuse();
    } catch (error) {
      expect((error as SirsiError).details.fields?.map(({ field }) => field)).toEqual(["agent_id"]);
    }
  });

  it("is not repeated at any length in the error", () => {
    expect(() => requireId("x".repeat(100_000), "agent_id")).toThrow(expect.objectContaining({ message: expect.not.stringContaining("x".repeat(61)) as string }));
  });
});

describe("a client's message id", () => {
  it.each(["a", "order-17/retry:2", "~".repeat(128)])("may be %j", (text) => expect(isMessageId(text)).toBe(true));
  it.each(["", "a b", "ü", "a\n", "~".repeat(129)])("may not be %j", (text) => expect(isMessageId(text)).toBe(false));
});
