import { beforeEach, describe, expect, it } from "vitest";
import type { AgentView } from "../../../runtime/agent/agents.ts";
import { ManualClock } from "../../../runtime/core/clock.ts";
import { SirsiError } from "../../../runtime/core/errors.ts";
import { AgentFilters } from "../../../runtime/hypervisor/agent-filter.ts";
import { FakeAgents, manifest } from "../../support/fake-agents.ts";
import { refusal } from "../../support/service-bench.ts";

/** 2025-06-15T15:06:40Z */
const NOW = 1_750_000_000_000;
const SESSION = "0190f3c2-6b7e-7c31-8a51-3f0d5f0a9c11";
const PARENT = "0190f3c2-6b7e-7c31-8a51-3f0d5f0a9c22";

let clock: ManualClock;
let filters: AgentFilters;
let view: AgentView;

beforeEach(() => {
  clock = new ManualClock(NOW);
  filters = new AgentFilters(2_048, clock);
  const agents = new FakeAgents(clock);
  view = agents.put(manifest("aws", { version: "1.2.0" }), { sessionId: SESSION, parentAgentId: PARENT, metadata: { team: "infra", "odd key": "x", empty: "" } }, { state: "READY", updatedAt: NOW + 60_000 });
});

const matches = (filter: string) => filters.compile(filter)!(view);

describe("a filter lets an agent through by", () => {
  it.each([
    ['state == "READY"', true],
    ['state == "READY" && agent_type == "aws"', true],
    ['state == "BUSY" || agent_type != "aws"', false],
    ['!(state in ["BUSY", "ERROR"])', true],
    ['agent_type in []', false],
    ['agent_type.startsWith("a") && agent_type.endsWith("ws") && agent_type.contains("w")', true],
    ['agent_type.matches("^(aws|gcp)$")', true],
    ['agent_type.matches("^w")', false],
    [`parent_agent_id == "${PARENT}" && agent_id != parent_agent_id`, true],
    ['module_version >= "1.1.0" && module_version < "2"', true],
    ['metadata["team"] == "infra"', true],
    ['metadata.team == "infra"', true],
    ['metadata["odd key"] == "x"', true],
    ['"team" in metadata && !("boss" in metadata)', true],
    ["has(metadata.team) && !has(metadata.boss)", true],
    ["size(metadata) == 3 && metadata.size() > 2", true],
    ["size(metadata.empty) == 0 && size(agent_type) == 3", true],
    ['created_at == timestamp("2025-06-15T15:06:40Z")', true],
    ['created_at < updated_at && updated_at <= created_at + duration("60s")', true],
    ['updated_at - created_at > duration("2m")', false],
    ['timestamp("2025-01-01T00:00:00Z") in [created_at, updated_at]', false],
    ['(has(metadata.team) ? metadata.team : "none") == "infra"', true],
    ["true", true],
    ["false", false],
  ] as [string, boolean][])("%s -> %s", (filter, expected) => {
    expect(matches(filter)).toBe(expected);
  });

  it("a negative number and a list's size", () => {
    expect(matches("size(metadata) > -1 && [1, 2].size() == 2 && -size(metadata) < 0 && 1.5 > -0.5")).toBe(true);
  });

  it("nothing at all: the empty filter is no filter", () => {
    expect(filters.compile("")).toBeNull();
    expect(filters.compile("  \n")).toBeNull();
  });
});

describe("a metadata key that the agent does not have", () => {
  it.each([
    ['metadata["boss"] == "x"', false],
    ['metadata["boss"] != "x"', false],
    ['!(metadata.boss == "x")', false],
    ['metadata.boss.startsWith("x")', false],
    ['metadata["boss"] == "x" || state == "READY"', true],
    ['state == "BUSY" && metadata.boss == "x"', false],
  ] as [string, boolean][])("is no error: %s -> %s", (filter, expected) => {
    expect(matches(filter)).toBe(expected);
  });

  it("nor is a time beyond the calendar", () => {
    expect(matches('timestamp("9999-01-01T00:00:00Z") + duration("100000h") > created_at')).toBe(false);
  });
});

describe("a filter is refused with its place, though there are no agents", () => {
  it.each([
    ['state == "READY" &&', /1, column/, null],
    ['state == "READY" && && true', /column 18.*found &/, 18],
    ["state == 1", /column 7.*== does not work on string and int/, 7],
    ['state == "A" && boss == "x"', /column 17.*boss is not a field.*agent_id, agent_type/, 17],
    ['\n  stat == "READY"', /line 2, column 3/, 3],
    ["metadata", /gives map/, 1],
    ['"yes"', /gives string/, 1],
    ["size(metadata)", /gives int/, 1],
    ['state.nope == "x"', /\.nope works only on metadata/, null],
    ['metadata.a.b == "x"', /\.b works only on metadata/, null],
    ["metadata[1] == \"x\"", /\[\] does not work on map and int/, null],
    ['state < 5', /< does not work on string and int/, null],
    ['metadata < metadata', /< does not work/, null],
    ['!state', /! does not work on string/, null],
    ['state && true', /&& does not work on string and bool/, null],
    ['1 in ["a"]', /in does not work on int and list of string/, null],
    ['1 in metadata', /in does not work/, null],
    ['state in ["a", 1]', /a list holds values of one type/, null],
    ['[true] == [true]', /a list of bool is not part/, null],
    ['state + "x" == "yx"', /\+ does not work on string and string/, null],
    ['1 - duration("1s") == 1', /- does not work/, null],
    ['-state == "x"', /- does not work on string/, null],
    ['state ? true : false', /\?: does not work/, null],
    ['true ? 1 : "a"', /\?: does not work/, null],
    ['size(1) == 1', /size does not work on int/, null],
    ['[1, 2].all(x, x > 0)', /macros/, null],
    ['[[1].exists(x, true)] == []', /macros/, null],
    ['{"a": 1} == {"a": 1}', /maps and the macros/, null],
    ['b"x" == b"x"', /only true, false, numbers and strings/, null],
    ['1u == 1u', /only true, false, numbers and strings/, null],
    ['null == null', /only true, false, numbers and strings/, null],
    ['state.upperAscii() == "READY"', /\.upperAscii\(\) is not part/, null],
    ['state.startsWith(1)', /startsWith\(\) works on a string/, null],
    ['metadata.startsWith("a")', /startsWith\(\) works on a string/, null],
    ['string(state) == "x"', /string is not part/, null],
    ['type(state) == string', /./, null],
    ['timestamp("yesterday") < created_at', /timestamp "yesterday" is malformed/, null],
    ['duration("long") == duration("1s")', /duration "long" is malformed/, null],
    ['timestamp(state) < created_at', /timestamp takes a string written out/, null],
    ['timestamp(created_at) < created_at && nope', /nope/, null],
    ['state.matches("(")', /pattern "\(" is malformed/, null],
    ['state.matches(agent_type)', /matches takes a string written out/, null],
    [`state.matches("${"x".repeat(300)}")`, /a pattern may have 256/, null],
    [`${"(".repeat(40)}true${")".repeat(40)}`, /nested 32 deep/, 33],
    ["x".repeat(2_049), /2049 characters; a filter may have 2048/, null],
  ] as [string, RegExp, number | null][])("%s", (filter, message, column) => {
    const thrown = (() => {
      try {
        return filters.compile(filter);
      } catch (error) {
        return error;
      }
    })();
    expect(thrown).toBeInstanceOf(SirsiError);
    const error = thrown as SirsiError;
    expect(error.code).toBe("FILTER_INVALID");
    expect(error.message).toMatch(message);
    expect(error.details.fields).toMatchObject([{ field: "filter" }]);
    if (column !== null) expect(error.details.metadata).toMatchObject({ column: String(column) });
  });

  it("also when it would exhaust the stack of a host that allows very long filters", () => {
    filters = new AgentFilters(1_000_000, clock);
    const filter = `${"true ? ".repeat(1)}${"true ? (false) : ".repeat(40_000)}true`;
    expect(() => filters.compile(filter)).toThrow(expect.objectContaining({ code: "FILTER_INVALID" }));
  });
});

describe("cost", () => {
  it("a filter is compiled once and kept", () => {
    expect(filters.compile('state == "READY"')).toBe(filters.compile('state == "READY"'));
  });

  it("patterns that ruin other engines are answered at once", () => {
    const agents = new FakeAgents(clock);
    view = agents.put(manifest("aws"), { sessionId: SESSION, metadata: { long: `${"a".repeat(16_000)}!` } });
    expect(matches('metadata.long.matches("^(a+)+$") || metadata.long.matches("(.*)(.*)(.*)x")')).toBe(false);
  });

  it("filtering gives way to other work, and gives up when it has used its time", async () => {
    let reads = 0;
    const slow = { now: () => NOW, after: clock.after.bind(clock), monotonic: () => reads++ * 6 };
    filters = new AgentFilters(2_048, slow);
    let others = 0;
    const other = setInterval(() => others++, 0);
    const found = await filters.begin("true").matching(Array.from({ length: 100 }, () => view));
    clearInterval(other);
    expect(found).toHaveLength(100);
    expect(others).toBeGreaterThan(0);
    const long = filters.begin("true");
    const inPages = async () => {
      for (let page = 0; page < 10; page++) await long.matching(Array.from({ length: 100 }, () => view));
    };
    const error = await refusal(inPages());
    expect([error.code, error.message.includes("took longer")]).toEqual(["FILTER_INVALID", true]);
    expect(() => filters.begin("nope")).toThrow(expect.objectContaining({ code: "FILTER_INVALID" }));
  });
});
