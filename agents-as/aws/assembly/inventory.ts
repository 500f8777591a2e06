/** An estate as a person reads it, and as a program does. */
import { JsonWriter, Suggestion } from "@sirsi/agent-sdk";
import { Resource } from "./resource";
import { Estate } from "./terraform";

const LINES_MAX: i32 = 60;
const TYPES_MAX: i32 = 25;

class Count {
  constructor(
    public readonly name: string,
    public count: i32,
  ) {}
}

/** How often each name comes, the most frequent first. */
function tally(names: string[]): Count[] {
  const places = new Map<string, i32>();
  const counts: Count[] = [];
  for (let i = 0; i < names.length; i++) {
    const name = names[i];
    if (places.has(name)) counts[places.get(name)].count++;
    else {
      places.set(name, counts.length);
      counts.push(new Count(name, 1));
    }
  }
  counts.sort((a, b) => (a.count != b.count ? b.count - a.count : a.name < b.name ? -1 : 1));
  return counts;
}

function types(estate: Estate): string[] {
  const names: string[] = [];
  for (let i = 0; i < estate.resources.length; i++) names.push(estate.resources[i].type);
  return names;
}

function regions(estate: Estate): string[] {
  const names: string[] = [];
  for (let i = 0; i < estate.resources.length; i++) if (estate.resources[i].region != "") names.push(estate.resources[i].region);
  return names;
}

function actions(estate: Estate): string[] {
  const names: string[] = [];
  for (let i = 0; i < estate.resources.length; i++) if (estate.resources[i].action != "") names.push(estate.resources[i].action);
  for (let i = 0; i < estate.deleted.length; i++) names.push("delete");
  return names;
}

function joined(counts: Count[], separator: string): string {
  const parts: string[] = [];
  for (let i = 0; i < counts.length; i++) parts.push(counts[i].name + separator + counts[i].count.toString());
  return parts.join(", ");
}

function managed(estate: Estate): i32 {
  let count = 0;
  for (let i = 0; i < estate.resources.length; i++) if (estate.resources[i].isManaged) count++;
  return count;
}

function plural(count: i32, one: string, many: string): string {
  return count.toString() + " " + (count == 1 ? one : many);
}

/** The object of a resource's tags; the provider's defaults when it has none of its own. */
function tagsOf(resource: Resource): i32 {
  const tags = resource.node("tags");
  return resource.document.size(tags) > 0 ? tags : resource.node("tags_all");
}

// --- for people ---

export function describe(estate: Estate, suggestions: Suggestion[]): string {
  const lines: string[] = [];
  const counts = tally(types(estate));
  const data = estate.resources.length - managed(estate);
  lines.push(headline(estate, counts.length));
  if (data > 0) lines.push(plural(managed(estate), "of them is managed", "of them are managed") + ", " + plural(data, "is a data source.", "are data sources."));
  const where = tally(regions(estate));
  lines.push(where.length == 0 ? "Region: not told by the document." : "Regions: " + joined(where, " ") + ".");
  const changes = tally(actions(estate));
  if (changes.length > 0) lines.push("The plan: " + joined(changes, " ") + ".");
  const others = estate.others.keys();
  if (others.length > 0) lines.push("Left out, of other providers: " + othersText(estate) + ".");
  lines.push("");
  lines.push("By type:");
  for (let i = 0; i < counts.length && i < TYPES_MAX; i++) lines.push("  " + counts[i].count.toString() + " × " + counts[i].name);
  if (counts.length > TYPES_MAX) lines.push("  and " + (counts.length - TYPES_MAX).toString() + " more types");
  lines.push("");
  lines.push("Resources (all of them, with tags, in inventory.json):");
  for (let i = 0; i < estate.resources.length && i < LINES_MAX; i++) lines.push(line(estate.resources[i]));
  if (estate.resources.length > LINES_MAX) lines.push("  and " + (estate.resources.length - LINES_MAX).toString() + " more");
  lines.push("");
  lines.push(verdict(suggestions));
  return lines.join("\n");
}

function headline(estate: Estate, typeCount: i32): string {
  const version = estate.terraformVersion == "" ? "" : " of Terraform " + estate.terraformVersion;
  const shape = estate.kind == "plan" ? "A plan" : "A state";
  return shape + version + " (format " + (estate.formatVersion == "" ? "not stated" : estate.formatVersion) + "): " + plural(estate.resources.length, "AWS entry", "AWS entries") + " of " + plural(typeCount, "type", "types") + ".";
}

function othersText(estate: Estate): string {
  const providers = estate.others.keys();
  const parts: string[] = [];
  for (let i = 0; i < providers.length; i++) parts.push(estate.others.get(providers[i]).toString() + " of " + providers[i]);
  return parts.join(", ");
}

function line(resource: Resource): string {
  const document = resource.document;
  const name = document.text(document.get(tagsOf(resource), "Name"));
  const facts: string[] = [];
  if (resource.region != "") facts.push(resource.region);
  if (name != "") facts.push("Name=" + name);
  if (resource.action != "" && resource.action != "no-op") facts.push(resource.action);
  return "  " + resource.address + (facts.length == 0 ? "" : " (" + facts.join(", ") + ")");
}

function verdict(suggestions: Suggestion[]): string {
  if (suggestions.length == 0) return "Nothing to mend was found by the rules of this agent.";
  const urgent: string[] = [];
  let count = 0;
  for (let i = 0; i < suggestions.length; i++) {
    if (suggestions[i].priority > 1) continue;
    count++;
    if (urgent.length < 5) urgent.push("  " + suggestions[i].title);
  }
  const head = plural(suggestions.length, "finding", "findings") + ", " + count.toString() + " of them urgent";
  return urgent.length == 0 ? head + "." : head + ":\n" + urgent.join("\n") + (count > urgent.length ? "\n  and " + (count - urgent.length).toString() + " more" : "");
}

// --- for programs ---

export function inventoryJson(estate: Estate): Uint8Array {
  const writer = new JsonWriter();
  writer.beginObject();
  writer.key("source").text(estate.kind).key("format_version").textOrNull(estate.formatVersion).key("terraform_version").textOrNull(estate.terraformVersion);
  writer.key("total").integer(estate.resources.length);
  writer.key("managed").integer(managed(estate));
  writer.key("data").integer(estate.resources.length - managed(estate));
  writeCounts(writer, "by_type", tally(types(estate)));
  writeCounts(writer, "by_region", tally(regions(estate)));
  if (estate.kind == "plan") writeCounts(writer, "by_action", tally(actions(estate)));
  writer.key("other_providers").beginObject();
  const providers = estate.others.keys();
  for (let i = 0; i < providers.length; i++) writer.key(providers[i]).integer(estate.others.get(providers[i]));
  writer.endObject();
  writer.key("deleted").beginArray();
  for (let i = 0; i < estate.deleted.length; i++) writer.text(estate.deleted[i]);
  writer.endArray();
  writer.key("resources").beginArray();
  for (let i = 0; i < estate.resources.length; i++) writeResource(writer, estate.resources[i]);
  writer.endArray();
  writer.endObject();
  return writer.bytes();
}

function writeCounts(writer: JsonWriter, name: string, counts: Count[]): void {
  writer.key(name).beginObject();
  for (let i = 0; i < counts.length; i++) writer.key(counts[i].name).integer(counts[i].count);
  writer.endObject();
}

function writeResource(writer: JsonWriter, resource: Resource): void {
  writer.beginObject();
  writer.key("address").text(resource.address).key("type").text(resource.type).key("name").text(resource.name);
  writer.key("module").textOrNull(resource.module).key("mode").text(resource.mode).key("provider").text(resource.provider);
  writer.key("region").textOrNull(resource.region);
  if (resource.action != "") writer.key("action").text(resource.action);
  writer.key("tags").beginObject();
  const document = resource.document;
  const tags = tagsOf(resource);
  for (let key = document.first(tags), end = document.end(tags); document.isObject(tags) && key < end; key = document.after(key + 1)) {
    writer.key(document.text(key));
    if (document.isText(key + 1)) writer.text(document.text(key + 1));
    else writer.nil();
  }
  writer.endObject().endObject();
}
