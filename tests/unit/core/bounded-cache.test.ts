import { expect, it } from "vitest";
import { BoundedCache } from "../../../runtime/core/bounded-cache.ts";

it("keeps what is used and forgets what is not, within its bound", () => {
  const cache = new BoundedCache<string, number>(10);
  cache.set("hot", 1);
  for (let n = 0; n < 100; n++) {
    cache.set(`cold ${n}`, n);
    expect(cache.get("hot")).toBe(1);
    expect(cache.size).toBeLessThanOrEqual(10);
  }
  expect(cache.get("cold 0")).toBeUndefined();
  expect(cache.get("cold 99")).toBe(99);
});

it("always holds the half of its bound that was used last", () => {
  const cache = new BoundedCache<number, number>(8);
  for (let n = 0; n < 50; n++) cache.set(n, n);
  expect([46, 47, 48, 49].map((n) => cache.get(n))).toEqual([46, 47, 48, 49]);
});

it("replaces and deletes an entry of either generation", () => {
  const cache = new BoundedCache<string, number>(4);
  cache.set("a", 1);
  cache.set("b", 2);
  cache.set("c", 3);
  cache.set("a", 10);
  cache.delete("b");
  expect([cache.get("a"), cache.get("b"), cache.get("c"), cache.size]).toEqual([10, undefined, 3, 2]);
});
