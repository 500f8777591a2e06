import { describe, expect, it } from "vitest";
import { openMetrics, type Metrics } from "../../../runtime/observe/index.ts";
import { METRIC_TABLE, type MetricRow } from "../../../runtime/observe/metric-table.ts";

const open = () => openMetrics({ processMetrics: false });

/** The lines of one metric, without comments. */
async function lines(metrics: Metrics, name: string): Promise<string[]> {
  return (await metrics.text()).split("\n").filter((line) => line.startsWith(name));
}

describe("metrics", () => {
  it("are written in the format that Prometheus reads", async () => {
    const metrics = open();
    metrics.counter("sirsi_grpc_requests_total", "S/M", "OK").inc();
    metrics.counter("sirsi_grpc_requests_total", "S/M", "OK").inc(2);
    metrics.gauge("sirsi_sessions").set(7);
    expect(metrics.contentType).toMatch(/^text\/plain; version=0\.0\.4/);
    expect(await metrics.text()).toContain("# TYPE sirsi_grpc_requests_total counter\nsirsi_grpc_requests_total{method=\"S/M\",code=\"OK\"} 3\n");
    expect(await lines(metrics, "sirsi_sessions")).toEqual(["sirsi_sessions 7"]);
  });

  it("count an observation in every bucket that holds it", async () => {
    const metrics = open();
    for (const seconds of [0.0001, 0.0003, 0.0005, 5_000]) metrics.histogram("sirsi_store_commit_seconds").observe(seconds);
    metrics.histogram("sirsi_store_commit_seconds").observe(Number.NaN);
    const found = await lines(metrics, "sirsi_store_commit_seconds");
    expect(found.slice(0, 4)).toEqual([
      'sirsi_store_commit_seconds_bucket{le="0.0001"} 1',
      'sirsi_store_commit_seconds_bucket{le="0.00025"} 1',
      'sirsi_store_commit_seconds_bucket{le="0.0005"} 3',
      'sirsi_store_commit_seconds_bucket{le="0.001"} 3',
    ]);
    expect(found.slice(-4)).toEqual([
      'sirsi_store_commit_seconds_bucket{le="60"} 3',
      'sirsi_store_commit_seconds_bucket{le="+Inf"} 4',
      "sirsi_store_commit_seconds_sum 5000.0009",
      "sirsi_store_commit_seconds_count 4",
    ]);
  });

  it("keep counters from going down", async () => {
    const metrics = open();
    metrics.counter("sirsi_fuel_total", "x").inc(5);
    metrics.counter("sirsi_fuel_total", "x").inc(-3);
    metrics.counter("sirsi_fuel_total", "x").inc(Number.NaN);
    expect(await lines(metrics, "sirsi_fuel_total")).toEqual(['sirsi_fuel_total{module="other"} 5']);
  });

  it("name only modules that the host knows, and forget those that went", async () => {
    const metrics = open();
    metrics.knowModule("echo");
    metrics.counter("sirsi_fuel_total", "echo").inc(1);
    metrics.counter("sirsi_fuel_total", "made-up").inc(2);
    expect(await lines(metrics, "sirsi_fuel_total")).toEqual(['sirsi_fuel_total{module="echo"} 1', 'sirsi_fuel_total{module="other"} 2']);
    metrics.forgetModule("echo");
    metrics.counter("sirsi_fuel_total", "echo").inc(4);
    expect(await lines(metrics, "sirsi_fuel_total")).toEqual(['sirsi_fuel_total{module="other"} 6']);
  });

  it("put event types that guests chose under one name", async () => {
    const metrics = open();
    for (const type of ["AGENT_SPAWNED", "invoice.paid", "invoice.sent"]) metrics.counter("sirsi_events_total", type).inc();
    expect(await lines(metrics, "sirsi_events_total")).toEqual(['sirsi_events_total{type="AGENT_SPAWNED"} 1', 'sirsi_events_total{type="guest"} 2']);
  });

  it("stay bounded whatever labels come", async () => {
    const metrics = open();
    for (let n = 0; n < 3_000; n += 1) metrics.counter("sirsi_grpc_requests_total", `S/M${n}`, "OK").inc();
    const found = await lines(metrics, "sirsi_grpc_requests_total");
    expect(found).toHaveLength(1_001);
    expect(found.at(-1)).toBe('sirsi_grpc_requests_total{method="other",code="other"} 2000');
  });

  it("are asked for afresh at each reading", async () => {
    const metrics = open();
    let sessions = 0;
    metrics.onCollect(() => {
      metrics.clear("sirsi_agents");
      metrics.gauge("sirsi_sessions").set((sessions += 1));
    });
    metrics.gauge("sirsi_agents", "x", "READY").set(1);
    expect(await lines(metrics, "sirsi_agents{")).toEqual([]);
    expect(await lines(metrics, "sirsi_sessions")).toEqual(["sirsi_sessions 2"]);
  });

  it("of two hosts in one process are apart", async () => {
    const [one, other] = [open(), open()];
    one.gauge("sirsi_sessions").set(3);
    expect(await lines(other, "sirsi_sessions")).toEqual(["sirsi_sessions 0"]);
  });

  it("include those of the process", async () => {
    expect(await lines(openMetrics(), "process_resident_memory_bytes")).toHaveLength(1);
  });
});

describe("the table of metrics", () => {
  it.each(Object.entries<MetricRow>(METRIC_TABLE))("gives %s a name with its unit, a help text and rising buckets", (name, row) => {
    expect(name).toMatch(/^sirsi_[a-z_]+$/);
    expect(name.endsWith("_total")).toBe(row.type === "counter");
    expect(row.help).toMatch(/^[A-Za-z].*\.$/);
    expect(row.type === "histogram").toBe(row.buckets !== undefined);
    expect((row.buckets ?? []).toSorted((a, b) => a - b)).toEqual(row.buckets ?? []);
  });
});
