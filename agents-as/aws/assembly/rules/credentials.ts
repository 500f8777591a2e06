/** Credentials written into resources. Findings name the place and the kind, never the value. */
import { JsonDocument } from "@sirsi/agent-sdk";
import { Category, Finding } from "../finding";
import { Resource } from "../resource";

export function credentialRules(resource: Resource, out: Finding[]): void {
  if (resource.type == "aws_lambda_function") environment(resource, out);
  else if (resource.type == "aws_ecs_task_definition") containers(resource, out);
  else if (resource.type == "aws_instance" || resource.type == "aws_launch_template" || resource.type == "aws_launch_configuration") {
    const plain = resource.text("user_data");
    startScript(resource, "user_data", resource.type == "aws_launch_template" ? decodeBase64(plain) : plain, out);
    startScript(resource, "user_data_base64", decodeBase64(resource.text("user_data_base64")), out);
  }
}

function report(resource: Resource, place: string, kind: string, confidence: f32, out: Finding[]): void {
  out.push(
    new Finding("hard-coded-credentials", Category.SECURITY, resource, place + " holds " + kind, "Take the credentials out of the code", 1, confidence)
      .because("They can be read in the configuration, the state and the console. Treat them as leaked: change them, and fetch the new ones from Secrets Manager or a role.")
      .set(place, "a reference to Secrets Manager or Parameter Store"),
  );
}

function environment(resource: Resource, out: Finding[]): void {
  const document = resource.document;
  const variables = document.get(resource.block("environment"), "variables");
  for (let key = document.first(variables), end = document.end(variables); document.isObject(variables) && key < end; key = document.after(key + 1)) {
    const name = document.text(key);
    const kind = kindOf(name, document.text(key + 1));
    if (kind == "") continue;
    report(resource, "environment.variables." + name, kind, kind.startsWith("what") ? <f32>0.75 : <f32>0.97, out);
    return;
  }
}

function containers(resource: Resource, out: Finding[]): void {
  const definitions = JsonDocument.parseText(resource.text("container_definitions"));
  if (definitions.fault !== null || !definitions.isArray(0)) return;
  for (let container = definitions.first(0), end = definitions.end(0); container < end; container = definitions.after(container)) {
    const variables = definitions.get(container, "environment");
    for (let pair = definitions.first(variables), last = definitions.end(variables); definitions.isArray(variables) && pair < last; pair = definitions.after(pair)) {
      const name = definitions.text(definitions.get(pair, "name"));
      const kind = kindOf(name, definitions.text(definitions.get(pair, "value")));
      if (kind != "") return report(resource, "container_definitions.environment." + name, kind, kind.startsWith("what") ? <f32>0.75 : <f32>0.97, out);
    }
  }
}

/** What a named value seems to be; "" when it is no secret. */
function kindOf(name: string, value: string): string {
  if (findAccessKey(value)) return "an AWS access key id";
  if (value.includes("-----BEGIN ") && value.includes("PRIVATE KEY-----")) return "a private key";
  if (value.length < 6 || isReference(value)) return "";
  const words = name.toUpperCase();
  const places = ["_ARN", "_NAME", "_PATH", "_URL", "_URI", "_ID", "_FILE", "_TTL", "_LENGTH", "_TABLE", "_VERSION"];
  for (let i = 0; i < places.length; i++) if (words.endsWith(places[i])) return "";
  const secrets = ["PASSWORD", "PASSWD", "SECRET", "TOKEN", "API_KEY", "APIKEY", "PRIVATE_KEY", "ACCESS_KEY"];
  for (let i = 0; i < secrets.length; i++) if (words.includes(secrets[i])) return "what its name calls a secret";
  return "";
}

/** Whether a value says where a secret is instead of being one. */
function isReference(value: string): bool {
  return value.startsWith("arn:") || value.startsWith("/") || value.startsWith("{{resolve:") || value.startsWith("http") || value.startsWith("ssm:") || value == "changeme" || value == "true" || value == "false";
}

function startScript(resource: Resource, place: string, script: string, out: Finding[]): void {
  if (script.length < 8) return;
  if (findAccessKey(script)) return report(resource, place, "an AWS access key id", 0.97, out);
  if (script.includes("-----BEGIN ") && script.includes("PRIVATE KEY-----")) return report(resource, place, "a private key", 0.97, out);
  const lower = script.toLowerCase();
  const names = ["aws_secret_access_key=", "password=", "passwd=", "secret_key=", "api_key=", "token="];
  for (let i = 0; i < names.length; i++) {
    const at = lower.indexOf(names[i]);
    if (at >= 0 && isLiteral(script, at + names[i].length)) return report(resource, place, "an assignment to " + names[i].substring(0, names[i].length - 1), 0.8, out);
  }
}

/** Whether a literal of some length stands there, and not a variable or a command. */
function isLiteral(script: string, at: i32): bool {
  let from = at;
  if (from < script.length && (script.charCodeAt(from) == 0x22 || script.charCodeAt(from) == 0x27)) from++;
  let length = 0;
  for (let i = from; i < script.length; i++) {
    const unit = script.charCodeAt(i);
    if (unit <= 0x20 || unit == 0x22 || unit == 0x27) break;
    if (unit == 0x24 || unit == 0x60) return false;
    length++;
  }
  return length >= 6;
}

/** An access key id: AKIA or ASIA and 16 capitals or digits. */
function findAccessKey(text: string): bool {
  for (let at = nextKey(text, 0); at >= 0; at = nextKey(text, at + 4)) {
    let length = 0;
    while (at + 4 + length < text.length && isCapitalOrDigit(text.charCodeAt(at + 4 + length))) length++;
    if (length == 16) return true;
  }
  return false;
}

function nextKey(text: string, from: i32): i32 {
  const long = text.indexOf("AKIA", from);
  const short = text.indexOf("ASIA", from);
  if (long < 0) return short;
  return short < 0 ? long : min(long, short);
}

function isCapitalOrDigit(unit: i32): bool {
  return (unit >= 0x41 && unit <= 0x5a) || (unit >= 0x30 && unit <= 0x39);
}

/** The text of base64; "" when it is not base64 of ASCII-like text. */
function decodeBase64(text: string): string {
  let result = "";
  let bits: u32 = 0;
  let held = 0;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit == 0x3d) break;
    const value = base64Value(unit);
    if (value < 0) return "";
    bits = (bits << 6) | value;
    held += 6;
    if (held < 8) continue;
    held -= 8;
    result += String.fromCharCode((bits >> held) & 0xff);
  }
  return result;
}

function base64Value(unit: i32): i32 {
  if (unit >= 0x41 && unit <= 0x5a) return unit - 0x41;
  if (unit >= 0x61 && unit <= 0x7a) return unit - 0x61 + 26;
  if (unit >= 0x30 && unit <= 0x39) return unit - 0x30 + 52;
  return unit == 0x2b ? 62 : unit == 0x2f ? 63 : -1;
}
