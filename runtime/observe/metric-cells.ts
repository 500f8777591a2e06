/**
 * The numbers behind a metric: one cell for each set of label values.
 *
 * prom-client's own cells hash their labels at every observation, which takes a
 * good part of a microsecond; these only add. Its registry still writes the text.
 */
import type { MetricRow } from "./metric-table.ts";

export interface Sample {
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
  /** When it differs from the metric's name: `_bucket`, `_sum`, `_count`. */
  readonly metricName?: string;
}

export interface Cell {
  samples(name: string, labels: Readonly<Record<string, string>>): Sample[];
}

export class CounterCell implements Cell {
  #value = 0;

  /** Anything that is not above 0 is ignored: counters only rise. */
  inc(by = 1): void {
    if (by > 0) this.#value += by;
  }

  samples(_name: string, labels: Readonly<Record<string, string>>): Sample[] {
    return [{ labels, value: this.#value }];
  }
}

export class GaugeCell implements Cell {
  #value = 0;

  set(value: number): void {
    this.#value = value;
  }

  samples(_name: string, labels: Readonly<Record<string, string>>): Sample[] {
    return [{ labels, value: this.#value }];
  }
}

export class HistogramCell implements Cell {
  readonly #bounds: readonly number[];
  /** One more than there are bounds: what is larger than all of them. */
  readonly #counts: Float64Array;
  #sum = 0;

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.#counts = new Float64Array(bounds.length + 1);
  }

  /** In the metric's unit: seconds for `_seconds`. What is not a number is ignored. */
  observe(value: number): void {
    if (Number.isNaN(value)) return;
    const bounds = this.#bounds;
    let at = 0;
    while (at < bounds.length && value > (bounds[at] as number)) at += 1;
    this.#counts[at] = (this.#counts[at] as number) + 1;
    this.#sum += value;
  }

  samples(name: string, labels: Readonly<Record<string, string>>): Sample[] {
    let total = 0;
    const samples: Sample[] = [];
    for (const [at, count] of this.#counts.entries()) {
      total += count;
      samples.push({ metricName: `${name}_bucket`, labels: { ...labels, le: this.#bounds[at] ?? "+Inf" }, value: total });
    }
    samples.push({ metricName: `${name}_sum`, labels, value: this.#sum }, { metricName: `${name}_count`, labels, value: total });
    return samples;
  }
}

const OTHER = "other";

/** All cells of one metric. A family without labels shows its one cell from the start. */
export class Family<C extends Cell> {
  readonly name: string;
  readonly help: string;
  readonly type: MetricRow["type"];
  readonly #labels: readonly string[];
  readonly #makeCell: () => C;
  readonly #seriesMax: number;
  readonly #cells = new Map<string, { readonly cell: C; readonly values: readonly string[] }>();

  constructor(name: string, row: MetricRow, makeCell: () => C, seriesMax: number) {
    this.name = name;
    this.help = row.help;
    this.type = row.type;
    this.#labels = row.labels;
    this.#makeCell = makeCell;
    this.#seriesMax = seriesMax;
    if (row.labels.length === 0) this.cell([], (_label, value) => value);
  }

  /** `bound` maps a value that is not allowed to one that is; it is asked only for values not seen before. */
  cell(values: readonly string[], bound: (label: string, value: string) => string): C {
    const key = values.length === 1 ? (values[0] as string) : values.join("\0");
    return this.#cells.get(key)?.cell ?? this.#resolve(values, bound);
  }

  /** Kept under the bounded values alone, so that unknown ones cost no memory. */
  #resolve(values: readonly string[], bound: (label: string, value: string) => string): C {
    let bounded = values.map((value, at) => bound(this.#labels[at] as string, value));
    let entry = this.#cells.get(bounded.join("\0"));
    if (entry === undefined && this.#cells.size >= this.#seriesMax) {
      bounded = bounded.map(() => OTHER);
      entry = this.#cells.get(bounded.join("\0"));
    }
    if (entry === undefined) {
      entry = { cell: this.#makeCell(), values: bounded };
      this.#cells.set(bounded.join("\0"), entry);
    }
    return entry.cell;
  }

  forget(label: string, value: string): void {
    const at = this.#labels.indexOf(label);
    if (at < 0) return;
    for (const [key, entry] of this.#cells) {
      if (entry.values[at] === value) this.#cells.delete(key);
    }
  }

  clear(): void {
    this.#cells.clear();
  }

  /** What prom-client's registry asks of a metric. */
  get(): Promise<{ name: string; help: string; type: string; values: Sample[] }> {
    const values = [...this.#cells.values()].flatMap((entry) => {
      const labels = Object.fromEntries(this.#labels.map((label, at) => [label, entry.values[at] as string]));
      return entry.cell.samples(this.name, labels);
    });
    return Promise.resolve({ name: this.name, help: this.help, type: this.type, values });
  }
}
