import { Suggestion, SuggestionType } from "@sirsi/agent-sdk";
import { Resource } from "./resource";

/** What a finding is about; also what callers may ask for. */
export namespace Category {
  export const SECURITY: string = "security";
  export const RELIABILITY: string = "reliability";
  export const COST: string = "cost";
  export const OPERATIONS: string = "operations";
}

/**
 * What a rule found. Priority: 1 open to anyone now, 2 one mistake away from loss, 3 should be
 * mended, 4 worth mending, 5 tidiness. Confidence: 0.95 and more when the attribute itself is the
 * fault; less as it depends on what the document does not tell.
 */
export class Finding {
  private why: string = "";
  private fix: string = "";
  private value: string = "";
  private command: string = "";
  private permission: string = "";

  constructor(
    private readonly rule: string,
    private readonly category: string,
    private readonly resource: Resource,
    /** "attribute = value", never a secret. */
    private readonly evidence: string,
    private readonly title: string,
    private readonly priority: i32,
    private readonly confidence: f32,
  ) {}

  because(why: string): Finding {
    this.why = why;
    return this;
  }

  /** The attribute to change in the configuration, and what to. */
  set(attribute: string, value: string): Finding {
    this.fix = attribute;
    this.value = value;
    return this;
  }

  /** A command that mends the living resource; "" where its name is not known. */
  run(command: string, permission: string): Finding {
    this.command = command;
    this.permission = permission;
    return this;
  }

  toSuggestion(): Suggestion {
    const address = this.resource.address;
    const change = this.fix == "" ? "" : " Set " + this.fix + " = " + this.value + " in the configuration.";
    const suggestion = Suggestion.of(this.title + ": " + address, this.why + " Seen: " + this.evidence + "." + change);
    suggestion.id(this.rule + ":" + address).kind(kindOf(this.category)).sure(this.confidence).rank(this.priority);
    suggestion.with("rule", this.rule).with("category", this.category).with("resource", address).with("evidence", this.evidence);
    if (this.resource.region != "") suggestion.with("region", this.resource.region);
    if (this.fix != "") suggestion.parameter("attribute", this.fix).parameter("value", this.value);
    const live = this.resource.exists && this.command != "";
    if (live) suggestion.act("aws-cli", this.command + regionFlag(this.resource));
    else suggestion.act("terraform", "terraform plan -target=" + quote(address));
    if (live && this.permission != "") suggestion.needs(this.permission);
    return suggestion.parameter("resource", address);
  }
}

function kindOf(category: string): i32 {
  if (category == Category.SECURITY) return SuggestionType.WARNING;
  return category == Category.COST ? SuggestionType.OPTIMIZATION : SuggestionType.ACTION;
}

function regionFlag(resource: Resource): string {
  return resource.region == "" ? "" : " --region " + quote(resource.region);
}

/** Text as one word of a shell, whatever it holds: names come from files that anyone may have written. */
export function quote(text: string): string {
  let plain = text.length > 0 && text.charCodeAt(0) != 0x2d;
  for (let i = 0; i < text.length && plain; i++) {
    const unit = text.charCodeAt(i);
    const letter = (unit | 0x20) >= 0x61 && (unit | 0x20) <= 0x7a;
    plain = letter || (unit >= 0x2d && unit <= 0x3a) || unit == 0x5f || unit == 0x40;
  }
  return plain ? text : "'" + text.replaceAll("'", "'\\''") + "'";
}

/** A command about a named thing; "" when the name is not known. */
export function command(before: string, name: string, after: string = ""): string {
  return name == "" ? "" : before + " " + quote(name) + (after == "" ? "" : " " + after);
}
