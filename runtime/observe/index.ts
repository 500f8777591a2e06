export { createLogger, silentLogger, LOG_LEVELS, type Logger, type LogLevel, type LogOptions } from "./logger.ts";
export { openMetrics, type Metrics, type MetricsOptions } from "./metrics.ts";
export type { CounterCell, GaugeCell, HistogramCell } from "./metric-cells.ts";
export { LatencyHistogram, type LatencySummary } from "./histogram.ts";
