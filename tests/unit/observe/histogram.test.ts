import { array, assert, double, property } from "fast-check";
import { describe, expect, it } from "vitest";
import { LatencyHistogram } from "../../../runtime/observe/index.ts";

describe("a latency histogram", () => {
  it("knows nothing at first", () => {
    expect(new LatencyHistogram().summary()).toEqual({ count: 0, meanMs: 0, p50Ms: 0, p99Ms: 0, maxMs: 0 });
  });

  it.each([
    [3, 0.063],
    [5, 0.016],
    [8, 0.002],
  ])("of %i bits errs by at most a share of %f at any quantile", (bits, share) => {
    assert(
      property(array(double({ min: 0, max: 4_000_000, noNaN: true }), { minLength: 1, maxLength: 200 }), double({ min: 0.01, max: 1, noNaN: true }), (values, q) => {
        const histogram = new LatencyHistogram(bits);
        for (const value of values) histogram.record(value);
        const exact = values.toSorted((a, b) => a - b)[Math.max(1, Math.ceil(q * values.length)) - 1] as number;
        expect(Math.abs(histogram.quantile(q) - exact)).toBeLessThanOrEqual(exact * share + 0.001);
      }),
    );
  });

  it("keeps count, mean and maximum exactly", () => {
    const histogram = new LatencyHistogram();
    for (const value of [1, 2, 6]) histogram.record(value);
    expect([histogram.count, histogram.meanMs, histogram.sumMs, histogram.maxMs]).toEqual([3, 3, 9, 6]);
  });

  it("counts what is negative or no number as 0, and what is too long as the longest", () => {
    const histogram = new LatencyHistogram();
    for (const value of [-1, Number.NaN, 1e12, Infinity]) histogram.record(value);
    expect([histogram.count, histogram.quantile(0.5), histogram.maxMs]).toEqual([4, 0, Infinity]);
  });

  it("adds up with another of its precision, and refuses one of another", () => {
    const [a, b, empty] = [new LatencyHistogram(), new LatencyHistogram(), new LatencyHistogram()];
    a.record(1);
    b.record(9);
    empty.merge(a);
    empty.merge(b);
    empty.merge(new LatencyHistogram());
    expect([empty.count, empty.maxMs, Math.round(empty.quantile(1))]).toEqual([2, 9, 9]);
    expect(() => a.merge(new LatencyHistogram(5))).toThrow(/use one precision/);
  });

  it("can begin anew", () => {
    const histogram = new LatencyHistogram();
    histogram.record(5);
    histogram.reset();
    expect(histogram.summary().count).toBe(0);
    expect(histogram.quantile(0.5)).toBe(0);
  });

  it.each([0, 9, 1.5])("refuses a precision of %d", (bits) => {
    expect(() => new LatencyHistogram(bits)).toThrow(/from 1 to 8/);
  });
});
