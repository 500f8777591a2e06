import { describe, expect, it } from "vitest";
import { AskGraph } from "../../../runtime/agent/ask-graph.ts";
import { SirsiError } from "../../../runtime/core/errors.ts";

function refusal(act: () => unknown): string {
  try {
    act();
  } catch (thrown) {
    const { code, message } = SirsiError.from(thrown);
    return `${code}: ${message}`;
  }
  return "none";
}

describe("G2 on one host", () => {
  it("a circle is refused when it would close, with the way around it, and never before", () => {
    const graph = new AskGraph(false);
    graph.begin("a", "b");
    graph.begin("b", "c");
    graph.begin("d", "b");
    expect(refusal(() => graph.begin("c", "a"))).toContain("ASK_CYCLE: agent c cannot ask agent a: c waits for a waits for b waits for c, so none");
    expect(refusal(() => graph.begin("e", "e"))).toContain("e waits for e");
    expect(refusal(() => graph.begin("c", "e"))).toBe("none");
  });

  it("what is answered keeps nobody", () => {
    const graph = new AskGraph(false);
    graph.end(graph.begin("a", "b"));
    expect(refusal(() => graph.begin("b", "a"))).toBe("none");
  });

  it("an answer to what an agent asked before it was taken away does not end what it asks now", () => {
    const graph = new AskGraph(false);
    const before = graph.begin("a", "b");
    graph.begin("a", "b");
    graph.end(before);
    expect(refusal(() => graph.begin("b", "a"))).toContain("ASK_CYCLE");
  });
});

describe("G2 over hosts", () => {
  it("tells who waits for an agent, by way of others too, the agent itself last", () => {
    const graph = new AskGraph(true);
    graph.begin("a", "b");
    graph.begin("b", "d");
    graph.begin("c", "d");
    graph.beginFar(["x", "y"], "c");
    const waiters = graph.waitersOf("d");
    expect([waiters.at(-1), new Set(waiters)]).toEqual(["d", new Set(["a", "b", "c", "d", "x", "y"])]);
    expect(graph.waitersOf("nobody")).toEqual(["nobody"]);
  });

  it("an agent does not ask one that waits for it on another host", () => {
    const graph = new AskGraph(true);
    const end = graph.beginFar(["x", "y"], "a");
    graph.begin("a", "b");
    expect(refusal(() => graph.begin("b", "x"))).toContain("b waits for x waits for a waits for b");
    end();
    expect(refusal(() => graph.begin("b", "x"))).toBe("none");
  });

  it("what comes from those for whom the asked one waits is refused on arrival", () => {
    const graph = new AskGraph(true);
    graph.begin("a", "b");
    graph.begin("b", "x");
    expect(refusal(() => graph.beginFar(["w", "x"], "a"))).toContain("x waits for a waits for b waits for x");
    expect(refusal(() => graph.beginFar(["w"], "a"))).toBe("none");
  });

  it("the same question that comes twice is forgotten when both are answered", () => {
    const graph = new AskGraph(true);
    const [first, second] = [graph.beginFar(["x"], "a"), graph.beginFar(["x"], "a")];
    first();
    expect(refusal(() => graph.begin("a", "x"))).toContain("ASK_CYCLE");
    second();
    expect([refusal(() => graph.begin("a", "x")), graph.waitersOf("a")]).toEqual(["none", ["a"]]);
  });

  it("of a crowd that waits, a bounded number is told", () => {
    const graph = new AskGraph(true);
    for (let n = 0; n < 1_000; n++) graph.begin(`w${n}`, "a");
    const waiters = graph.waitersOf("a");
    expect([waiters.length, waiters.at(-1)]).toEqual([256, "a"]);
  });
});
