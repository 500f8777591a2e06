/** A module's manifest as the host sends it: JSON that this version may know more or less of. */
export type ManifestJson = Readonly<Record<string, unknown>>;

/** A host of another version may send something else; nothing is then known of it. */
export function manifestJson(json: string): ManifestJson {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === "object" && value !== null ? (value as ManifestJson) : {};
  } catch {
    return {};
  }
}

/** The text under this name; empty when there is none. */
export function manifestWord(manifest: ManifestJson, name: string): string {
  const value = manifest[name];
  return typeof value === "string" ? value : "";
}
