/**
 * What the host counts, for Prometheus. A registry of its own, never the global one.
 *
 * The number of series is bounded: a `module` label takes only names made known
 * with `knowModule`, an event type that a guest chose is `guest`, and a metric
 * that has SERIES_MAX series puts further ones under `other`.
 *
 * Accessors find a cell by its labels in some tens of nanoseconds; who needs one
 * often may keep it, until its module is forgotten.
 */
import { Registry, collectDefaultMetrics, type Metric } from "prom-client";
import { CounterCell, Family, GaugeCell, HistogramCell, type Cell } from "./metric-cells.ts";
import { METRIC_TABLE, type CounterName, type GaugeName, type HistogramName, type LabelValues, type MetricName, type MetricRow } from "./metric-table.ts";

const SERIES_MAX = 1_000;

export interface Metrics {
  counter<N extends CounterName>(name: N, ...labels: LabelValues<N>): CounterCell;
  gauge<N extends GaugeName>(name: N, ...labels: LabelValues<N>): GaugeCell;
  histogram<N extends HistogramName>(name: N, ...labels: LabelValues<N>): HistogramCell;
  /** Removes all series of a gauge, before it is set afresh. */
  clear(name: GaugeName): void;
  /** Lets `module` appear in labels. */
  knowModule(module: string): void;
  /** Ends the series of a module that is gone. */
  forgetModule(module: string): void;
  /** Called before each reading, to set gauges. */
  onCollect(collect: () => void): void;
  /** The Prometheus text format. */
  text(): Promise<string>;
  readonly contentType: string;
}

export interface MetricsOptions {
  /** The Node process's own metrics too: CPU, memory, event loop, garbage collection. Default true. */
  readonly processMetrics?: boolean;
}

function makeFamily(name: MetricName): Family<Cell> {
  const row: MetricRow = METRIC_TABLE[name];
  const makeCell = {
    counter: () => new CounterCell(),
    gauge: () => new GaugeCell(),
    histogram: () => new HistogramCell(row.buckets ?? []),
  }[row.type];
  return new Family<Cell>(name, row, makeCell, SERIES_MAX);
}

function bounded(modules: ReadonlySet<string>, label: string, value: string): string {
  if (label === "module") return modules.has(value) ? value : "other";
  // The host's own event types are upper case; a guest may invent any number of others.
  if (label === "type") return /^[A-Z_]+$/.test(value) ? value : "guest";
  return value;
}

class PromMetrics implements Metrics {
  readonly #registry = new Registry();
  readonly #families: ReadonlyMap<MetricName, Family<Cell>>;
  readonly #modules = new Set<string>();
  readonly #collectors: (() => void)[] = [];
  readonly #bound = (label: string, value: string) => bounded(this.#modules, label, value);

  constructor(options: MetricsOptions) {
    const names = Object.keys(METRIC_TABLE) as MetricName[];
    this.#families = new Map(names.map((name) => [name, makeFamily(name)]));
    // The registry asks a metric for its name and get() alone; its declared type names its own four classes.
    for (const family of this.#families.values()) this.#registry.registerMetric(family as unknown as Metric);
    if (options.processMetrics ?? true) collectDefaultMetrics({ register: this.#registry });
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  counter<N extends CounterName>(name: N, ...labels: LabelValues<N>): CounterCell {
    return this.#family(name).cell(labels, this.#bound) as CounterCell;
  }

  gauge<N extends GaugeName>(name: N, ...labels: LabelValues<N>): GaugeCell {
    return this.#family(name).cell(labels, this.#bound) as GaugeCell;
  }

  histogram<N extends HistogramName>(name: N, ...labels: LabelValues<N>): HistogramCell {
    return this.#family(name).cell(labels, this.#bound) as HistogramCell;
  }

  clear(name: GaugeName): void {
    this.#family(name).clear();
  }

  knowModule(module: string): void {
    this.#modules.add(module);
  }

  forgetModule(module: string): void {
    this.#modules.delete(module);
    for (const family of this.#families.values()) family.forget("module", module);
  }

  onCollect(collect: () => void): void {
    this.#collectors.push(collect);
  }

  async text(): Promise<string> {
    for (const collect of this.#collectors) collect();
    return await this.#registry.metrics();
  }

  #family(name: MetricName): Family<Cell> {
    return this.#families.get(name) as Family<Cell>;
  }
}

export function openMetrics(options: MetricsOptions = {}): Metrics {
  return new PromMetrics(options);
}
