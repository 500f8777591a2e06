/** Collects the wrong fields of one request, so that a caller hears of all of them at once. */
import { SirsiError } from "./errors.ts";
import { isId } from "./ids.ts";

export interface FieldViolation {
  readonly field: string;
  readonly description: string;
}

export class FieldViolations {
  #found: FieldViolation[] | null = null;

  add(field: string, description: string): void {
    (this.#found ??= []).push({ field, description });
  }

  /** Adds the description unless the field holds. */
  require(holds: boolean, field: string, description: string): void {
    if (!holds) this.add(field, description);
  }

  requireId(text: string, field: string): void {
    if (isId(text)) return;
    this.add(field, text === "" ? "must be set: the id of an existing one" : `must be a lower-case UUID such as the host gives out; got ${JSON.stringify(text.slice(0, 60))}`);
  }

  requireWithin(value: number, min: number, max: number, field: string, meaning: string): void {
    if (Number.isInteger(value) && value >= min && value <= max) return;
    this.add(field, `must be ${min} to ${max} (${meaning}); got ${value}`);
  }

  requireMap(map: Readonly<Record<string, string>>, maxEntries: number, field: string): void {
    let entries = 0;
    for (const _key in map) entries++;
    if (entries > maxEntries) this.add(field, `may have ${maxEntries} entries (limits.map_max_entries); got ${entries}`);
  }

  /** INVALID_ARGUMENT that names every wrong field; nothing when there is none. */
  throwIfAny(): void {
    const found = this.#found;
    if (found === null) return;
    const list = found.map(({ field, description }) => `${field} ${description}`).join("; ");
    const what = found.length === 1 ? "a field of the request is wrong" : `${found.length} fields of the request are wrong`;
    throw new SirsiError("INVALID_ARGUMENT", `${what}: ${list}`, { fields: found });
  }
}
