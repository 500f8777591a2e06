import { JsonDocument } from "@sirsi/agent-sdk";
import { MISSING } from "@sirsi/agent-sdk/json";
import { Resource } from "./resource";

/** Where a resource is, from its own attributes; "" when they do not say. */
export function ownRegion(resource: Resource): string {
  const stated = resource.text("region");
  if (isRegion(stated)) return stated;
  const arn = resource.text("arn").split(":");
  if (arn.length >= 6 && arn[0] == "arn" && isRegion(arn[3])) return arn[3];
  const zone = regionOfZone(resource.text("availability_zone"));
  if (zone != "") return zone;
  return regionOfZone(resource.document.text(resource.document.at(resource.node("availability_zones"), 0)));
}

/** Services that are the same everywhere: their resources have no region. */
export function isGlobal(type: string): bool {
  return type.startsWith("aws_iam_") || type.startsWith("aws_route53_") || type.startsWith("aws_cloudfront_") || type.startsWith("aws_organizations_");
}

function regionOfZone(zone: string): string {
  if (zone.length < 2) return "";
  const last = zone.charCodeAt(zone.length - 1);
  const region = zone.substring(0, zone.length - 1);
  return last >= 0x61 && last <= 0x7a && isRegion(region) ? region : "";
}

/** Letters and dashes, then a dash and a digit or two: us-east-1, us-gov-west-1. */
function isRegion(text: string): bool {
  const dash = text.lastIndexOf("-");
  if (dash < 4 || text.charCodeAt(2) != 0x2d || text.length - dash < 2 || text.length - dash > 3) return false;
  for (let i = dash + 1; i < text.length; i++) if (text.charCodeAt(i) < 0x30 || text.charCodeAt(i) > 0x39) return false;
  for (let i = 0; i < dash; i++) {
    const unit = text.charCodeAt(i);
    if (unit != 0x2d && (unit < 0x61 || unit > 0x7a)) return false;
  }
  return true;
}

/** What a plan's configuration tells beyond the values: regions of providers, references between resources. */
export class Configuration {
  /** Resource configurations by module path (without instance keys), "|" and local address. */
  private readonly resources: Map<string, i32> = new Map<string, i32>();

  constructor(private readonly document: JsonDocument) {
    this.walk(document.get(document.get(0, "configuration"), "root_module"), "");
  }

  private walk(module: i32, path: string): void {
    const document = this.document;
    const resources = document.get(module, "resources");
    for (let node = document.first(resources), end = document.end(resources); document.isArray(resources) && node < end; node = document.after(node)) {
      this.resources.set(path + "|" + document.text(document.get(node, "address")), node);
    }
    const calls = document.get(module, "module_calls");
    for (let key = document.first(calls), end = document.end(calls); document.isObject(calls) && key < end; key = document.after(key + 1)) {
      this.walk(document.get(key + 1, "module"), (path == "" ? "" : path + ".") + "module." + document.text(key));
    }
  }

  private find(resource: Resource): i32 {
    const local = (resource.isManaged ? "" : "data.") + resource.type + "." + resource.name;
    const key = withoutKeys(resource.module) + "|" + local;
    return this.resources.has(key) ? this.resources.get(key) : MISSING;
  }

  /** The region of a resource's provider; "" when it is not a constant or a variable with a value. */
  region(resource: Resource): string {
    const node = this.find(resource);
    if (node == MISSING) return "";
    const key = this.document.text(this.document.get(node, "provider_config_key"));
    const region = this.providerRegion(key);
    const colon = key.indexOf(":");
    return region == "" && colon >= 0 ? this.providerRegion(key.substring(colon + 1)) : region;
  }

  private providerRegion(key: string): string {
    const document = this.document;
    const provider = document.get(document.get(document.get(0, "configuration"), "provider_config"), key);
    const region = document.get(document.get(provider, "expressions"), "region");
    const constant = document.text(document.get(region, "constant_value"));
    if (constant != "") return isRegion(constant) ? constant : "";
    // A reference means something else inside a module: only the root's variables have values here.
    if (document.get(provider, "module_address") != MISSING) return "";
    const reference = document.text(document.at(document.get(region, "references"), 0));
    if (!reference.startsWith("var.")) return "";
    const value = document.text(document.get(document.get(document.get(0, "variables"), reference.substring(4)), "value"));
    return isRegion(value) ? value : "";
  }

  /** The address, without instance keys, of the resource that an attribute refers to; "" for none. */
  reference(resource: Resource, attribute: string): string {
    const node = this.find(resource);
    const references = this.document.get(this.document.get(this.document.get(node, "expressions"), attribute), "references");
    const parts = this.document.text(this.document.at(references, 0)).split(".");
    if (parts.length < 2 || !parts[0].startsWith("aws_")) return "";
    const module = withoutKeys(resource.module);
    return (module == "" ? "" : module + ".") + withoutKeys(parts[0] + "." + parts[1]);
  }
}

/** An address without the instance keys in brackets. */
export function withoutKeys(address: string): string {
  if (address.indexOf("[") < 0) return address;
  let result = "";
  let depth = 0;
  let quoted = false;
  for (let i = 0; i < address.length; i++) {
    const unit = address.charCodeAt(i);
    if (depth > 0 && unit == 0x22 && address.charCodeAt(i - 1) != 0x5c) quoted = !quoted;
    else if (!quoted && unit == 0x5b) depth++;
    else if (!quoted && unit == 0x5d && depth > 0) {
      depth--;
      continue;
    }
    if (depth == 0) result += address.charAt(i);
  }
  return result;
}
