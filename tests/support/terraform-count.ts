/** An independent count of the AWS entries of a state or plan: a plain search for what looks like a resource. */

export interface AwsCounts {
  readonly total: number;
  readonly byType: Record<string, number>;
  readonly addresses: readonly string[];
}

interface Entry {
  readonly address: string;
  readonly type: string;
}

function* entries(value: unknown): Generator<Entry> {
  if (typeof value !== "object" || value === null) return;
  const { address, type, provider_name: provider, values } = value as Record<string, unknown>;
  if (typeof address === "string" && typeof type === "string" && typeof provider === "string" && values !== undefined) {
    if (provider.endsWith("aws")) yield { address, type };
    return;
  }
  for (const inner of Object.values(value)) yield* entries(inner);
}

export function countAws(bytes: Uint8Array): AwsCounts {
  const { planned_values: planned, values } = JSON.parse(new TextDecoder().decode(bytes)) as { planned_values?: unknown; values?: unknown };
  const all = [...entries(planned ?? values)];
  const byType: Record<string, number> = {};
  for (const { type } of all) byType[type] = (byType[type] ?? 0) + 1;
  return { total: all.length, byType, addresses: all.map(({ address }) => address).toSorted() };
}
