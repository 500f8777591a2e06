import { JsonDocument } from "@sirsi/agent-sdk";
import { MISSING } from "@sirsi/agent-sdk/json";

/** What is known of an attribute. */
export namespace Known {
  /** The document does not speak of it, or it is known only after apply: no rule may judge it. */
  export const NO: i32 = 0;
  /** Stated as null or as no blocks: the provider's default holds. */
  export const UNSET: i32 = 1;
  export const SET: i32 = 2;
}

/** One resource or data source of a state or plan. */
export class Resource {
  address: string = "";
  /** The module's address; "" for the root module. */
  module: string = "";
  /** "managed" or "data". */
  mode: string = "";
  type: string = "";
  name: string = "";
  /** The provider's short name. */
  provider: string = "";
  /** "" when unknown, and for services without regions. */
  region: string = "";
  /** What a plan does to it: create, update, replace, no-op, …; "" in a state. */
  action: string = "";

  constructor(
    public readonly document: JsonDocument,
    /** The attributes. */
    public readonly values: i32,
    /** A plan's `after_unknown` of it. */
    public readonly unknown: i32 = MISSING,
  ) {}

  get isManaged(): bool {
    return this.mode != "data";
  }

  /** Whether it is there now, so that a command can act on it. */
  get exists(): bool {
    return this.action == "" || this.action == "no-op" || this.action == "update";
  }

  node(name: string): i32 {
    return this.document.get(this.values, name);
  }

  known(name: string): i32 {
    const node = this.node(name);
    if (node == MISSING || this.document.boolean(this.document.get(this.unknown, name))) return Known.NO;
    const empty = this.document.isArray(node) && this.document.size(node) == 0;
    return empty || this.document.raw(node) == "null" ? Known.UNSET : Known.SET;
  }

  text(name: string): string {
    return this.document.text(this.node(name));
  }

  /** Whether a switch is known to be off: said to be, or unset where off is the default. */
  isOff(name: string): bool {
    const known = this.known(name);
    return known == Known.UNSET || (known == Known.SET && this.raw(name) == "false");
  }

  isFalse(name: string): bool {
    return this.known(name) == Known.SET && this.raw(name) == "false";
  }

  isTrue(name: string): bool {
    return this.known(name) == Known.SET && this.raw(name) == "true";
  }

  /** A scalar as it stands in the document; "null" when unset. */
  raw(name: string): string {
    const node = this.node(name);
    return node == MISSING || this.document.isArray(node) || this.document.isObject(node) ? "" : this.document.raw(node);
  }

  /** The first block of a nested attribute, or MISSING. */
  block(name: string): i32 {
    return this.document.at(this.node(name), 0);
  }

  /** "attribute = value", as a person would write it down. Only for scalars and for what is empty. */
  evidence(name: string): string {
    const node = this.node(name);
    if (this.document.isArray(node)) return name + " = []";
    if (this.document.isObject(node)) return name + " = {}";
    return name + " = " + (this.document.isText(node) ? '"' + this.text(name) + '"' : this.document.raw(node));
  }
}
