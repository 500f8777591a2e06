/** docs/metrics.md, made from the table of metrics. */
import { METRIC_TABLE, type MetricRow } from "../../runtime/observe/metric-table.ts";

const HEAD = `# Metrics

<!-- Made from runtime/observe/metric-table.ts by \`node scripts/generate-docs.ts\`; a test holds it to the code. -->

A host serves its metrics in the Prometheus text format at \`/metrics\` on the HTTP address. The metrics of the Node
process (\`process_…\`, \`nodejs_…\`) are there too.

The number of series is bounded: \`module\` is the name of a module the host knows, else \`other\`; event types that
guests chose count as \`guest\`; and a metric that has 1,000 series puts further ones under \`other\`.

| metric | type | labels | meaning |
|---|---|---|---|
`;

export function metricsPage(): string {
  const rows = Object.entries<MetricRow>(METRIC_TABLE).map(
    ([name, row]) => `| \`${name}\` | ${row.type} | ${row.labels.map((label) => `\`${label}\``).join(", ")} | ${row.help} |`,
  );
  return `${HEAD}${rows.join("\n")}\n`;
}
