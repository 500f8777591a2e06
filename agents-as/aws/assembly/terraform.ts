/** The three shapes that Terraform's JSON comes in, read into one. */
import { JsonDocument } from "@sirsi/agent-sdk";
import { MISSING } from "@sirsi/agent-sdk/json";
import { Configuration, isGlobal, ownRegion } from "./region";
import { Resource } from "./resource";

export const EXPECTED: string = "expected the JSON of `terraform show -json` (a state or a saved plan) or a terraform.tfstate of version 4";

/** What a state or plan holds. */
export class Estate {
  /** "plan", "state" or "tfstate". */
  kind: string = "";
  formatVersion: string = "";
  terraformVersion: string = "";
  /** AWS resources and data sources, in the document's order. */
  resources: Resource[] = [];
  /** Entries of other providers, by provider. */
  others: Map<string, i32> = new Map<string, i32>();
  /** Resources that the plan deletes, by address. */
  deleted: string[] = [];
  configuration: Configuration | null = null;
  /** Why there is nothing to see; "" when there is. */
  fault: string = "";

  constructor(private readonly document: JsonDocument) {}

  /** Wipes the input; only what was written from it is kept. */
  release(): void {
    this.document.release();
  }
}

export function readEstate(bytes: Uint8Array): Estate {
  const document = JsonDocument.parse(bytes);
  const estate = new Estate(document);
  const fault = document.fault;
  if (fault !== null) {
    estate.fault = "the input is not JSON (" + fault.toString() + "); " + EXPECTED;
    return estate;
  }
  estate.formatVersion = document.text(document.get(0, "format_version"));
  estate.terraformVersion = document.text(document.get(0, "terraform_version"));
  if (document.isObject(document.get(0, "planned_values")) || document.isArray(document.get(0, "resource_changes"))) readPlan(document, estate);
  else if (document.isObject(document.get(0, "values"))) readState(document, estate);
  else if (document.isArray(document.get(0, "resources")) && document.get(0, "lineage") != MISSING) readRawState(document, estate);
  else estate.fault = "the input is JSON, but neither a Terraform state nor a plan" + shapeOf(document) + "; " + EXPECTED;
  if (estate.fault == "") judgeEmptiness(estate);
  return estate;
}

function shapeOf(document: JsonDocument): string {
  if (!document.isObject(0)) return " (it is not an object)";
  const names = document.root.names();
  if (names.length == 0) return " (it is an empty object)";
  if (document.get(0, "format_version") != MISSING) return " (it has a format_version, but no values: the state is empty)";
  return " (its members are " + names.slice(0, 6).join(", ") + (names.length > 6 ? ", …" : "") + ")";
}

function judgeEmptiness(estate: Estate): void {
  if (estate.resources.length > 0 || estate.deleted.length > 0) return;
  const providers = estate.others.keys();
  if (providers.length == 0) estate.fault = nameOf(estate) + " holds no resources; " + EXPECTED + " with AWS resources";
  else estate.fault = nameOf(estate) + " holds no AWS resources, only those of " + providers.join(", ") + "; send it to the agent for that cloud";
}

function nameOf(estate: Estate): string {
  return estate.kind == "plan" ? "the plan" : "the state";
}

// --- terraform show -json ---

function readState(document: JsonDocument, estate: Estate): void {
  estate.kind = "state";
  walkModule(document, document.get(document.get(0, "values"), "root_module"), estate, new Map<string, i32>());
}

function readPlan(document: JsonDocument, estate: Estate): void {
  estate.kind = "plan";
  estate.configuration = new Configuration(document);
  const changes = new Map<string, i32>();
  const all = document.get(0, "resource_changes");
  for (let node = document.first(all), end = document.end(all); document.isArray(all) && node < end; node = document.after(node)) {
    const address = document.text(document.get(node, "address"));
    changes.set(address, node);
    if (actionOf(document, node) == "delete" && isAws(document, node)) estate.deleted.push(address);
  }
  const planned = document.get(document.get(0, "planned_values"), "root_module");
  if (planned != MISSING) {
    walkModule(document, planned, estate, changes);
    return;
  }
  for (let node = document.first(all), end = document.end(all); document.isArray(all) && node < end; node = document.after(node)) {
    if (actionOf(document, node) == "delete") continue;
    addResource(document, node, document.get(document.get(node, "change"), "after"), document.text(document.get(node, "module_address")), node, estate);
  }
}

function walkModule(document: JsonDocument, module: i32, estate: Estate, changes: Map<string, i32>): void {
  const path = document.text(document.get(module, "address"));
  const resources = document.get(module, "resources");
  for (let node = document.first(resources), end = document.end(resources); document.isArray(resources) && node < end; node = document.after(node)) {
    const address = document.text(document.get(node, "address"));
    addResource(document, node, document.get(node, "values"), path, changes.has(address) ? changes.get(address) : MISSING, estate);
  }
  const children = document.get(module, "child_modules");
  for (let node = document.first(children), end = document.end(children); document.isArray(children) && node < end; node = document.after(node)) {
    walkModule(document, node, estate, changes);
  }
}

function addResource(document: JsonDocument, node: i32, values: i32, module: string, change: i32, estate: Estate): void {
  const provider = shortName(document.text(document.get(node, "provider_name")));
  if (!isAws(document, node)) return countOther(estate, provider);
  const resource = new Resource(document, values, document.get(document.get(change, "change"), "after_unknown"));
  const address = document.text(document.get(node, "address"));
  resource.module = module;
  resource.mode = document.text(document.get(node, "mode"), "managed");
  resource.type = document.text(document.get(node, "type"));
  resource.name = document.text(document.get(node, "name"));
  resource.provider = provider;
  // Terraform before 0.13 gives addresses within the module.
  resource.address = module != "" && !address.startsWith("module.") ? module + "." + address : address;
  resource.action = change == MISSING ? "" : actionOf(document, change);
  keep(resource, estate);
}

function keep(resource: Resource, estate: Estate): void {
  const configuration = estate.configuration;
  if (!isGlobal(resource.type)) {
    resource.region = ownRegion(resource);
    if (resource.region == "" && configuration !== null) resource.region = configuration.region(resource);
  }
  estate.resources.push(resource);
}

function actionOf(document: JsonDocument, change: i32): string {
  const actions = document.get(document.get(change, "change"), "actions");
  return document.size(actions) == 2 ? "replace" : document.text(document.at(actions, 0));
}

function isAws(document: JsonDocument, node: i32): bool {
  return shortName(document.text(document.get(node, "provider_name"))) == "aws" || document.text(document.get(node, "type")).startsWith("aws_");
}

/** "registry.example/hashicorp/aws" and "aws" are the same provider. */
function shortName(provider: string): string {
  return provider.substring(provider.lastIndexOf("/") + 1);
}

function countOther(estate: Estate, provider: string): void {
  const name = provider == "" ? "unknown" : provider;
  estate.others.set(name, (estate.others.has(name) ? estate.others.get(name) : 0) + 1);
}

// --- terraform.tfstate ---

function readRawState(document: JsonDocument, estate: Estate): void {
  estate.kind = "tfstate";
  const version = document.raw(document.get(0, "version"));
  estate.formatVersion = version;
  if (version != "4") {
    estate.fault = "the state file has version " + (version == "" ? "unknown" : version) + ", and only version 4 can be read; run `terraform show -json` with a Terraform of 0.12 or later";
    return;
  }
  const resources = document.get(0, "resources");
  for (let node = document.first(resources), end = document.end(resources); node < end; node = document.after(node)) {
    const provider = providerOf(document.text(document.get(node, "provider")));
    const instances = document.get(node, "instances");
    const aws = provider == "aws" || document.text(document.get(node, "type")).startsWith("aws_");
    for (let instance = document.first(instances), last = document.end(instances); document.isArray(instances) && instance < last; instance = document.after(instance)) {
      if (aws) addInstance(document, node, instance, provider, estate);
      else countOther(estate, provider);
    }
  }
}

function addInstance(document: JsonDocument, node: i32, instance: i32, provider: string, estate: Estate): void {
  const resource = new Resource(document, document.get(instance, "attributes"));
  resource.module = document.text(document.get(node, "module"));
  resource.mode = document.text(document.get(node, "mode"), "managed");
  resource.type = document.text(document.get(node, "type"));
  resource.name = document.text(document.get(node, "name"));
  resource.provider = provider;
  const key = document.get(instance, "index_key");
  const suffix = key == MISSING ? "" : document.isText(key) ? '["' + document.raw(key) + '"]' : "[" + document.raw(key) + "]";
  resource.address = (resource.module == "" ? "" : resource.module + ".") + (resource.isManaged ? "" : "data.") + resource.type + "." + resource.name + suffix;
  keep(resource, estate);
}

/** `provider["registry.example/hashicorp/aws"].paris` and `provider.aws.paris` name the provider aws. */
function providerOf(text: string): string {
  const quote = text.indexOf('["');
  if (quote >= 0) return shortName(text.substring(quote + 2, text.indexOf('"]', quote)));
  const from = text.indexOf("provider.");
  return from < 0 ? text : text.substring(from + 9).split(".")[0];
}
