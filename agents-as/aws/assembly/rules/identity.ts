import { JsonDocument } from "@sirsi/agent-sdk";
import { Category, Finding, command } from "../finding";
import { Known, Resource } from "../resource";

export function identityRules(resource: Resource, out: Finding[]): void {
  const type = resource.type;
  if (type == "aws_iam_policy" || type == "aws_iam_role_policy" || type == "aws_iam_user_policy" || type == "aws_iam_group_policy") policyRules(resource, out);
  else if (type == "aws_iam_role_policy_attachment" || type == "aws_iam_user_policy_attachment" || type == "aws_iam_group_policy_attachment") administrator(resource, out);
  else if (type == "aws_iam_access_key") accessKey(resource, out);
  else if (type == "aws_kms_key") keyRotation(resource, out);
  else if (type == "aws_cloudtrail") trail(resource, out);
}

/** Whether a value, or one element of a list, is `wanted`, or (for a service) ends with ":*". */
function holds(document: JsonDocument, node: i32, wanted: string): bool {
  if (document.isText(node)) return document.text(node) == wanted;
  if (!document.isArray(node)) return false;
  for (let child = document.first(node), end = document.end(node); child < end; child = document.after(child)) if (document.text(child) == wanted) return true;
  return false;
}

function wholeService(document: JsonDocument, node: i32): string {
  if (document.isText(node)) return document.text(node).endsWith(":*") ? document.text(node) : "";
  const found: string[] = [];
  if (document.isArray(node)) {
    for (let child = document.first(node), end = document.end(node); child < end; child = document.after(child)) if (document.text(child).endsWith(":*")) found.push(document.text(child));
  }
  return found.slice(0, 4).join(", ");
}

function policyRules(resource: Resource, out: Finding[]): void {
  if (resource.text("policy") == "") return;
  const policy = JsonDocument.parseText(resource.text("policy"));
  if (policy.fault !== null) return;
  const statements = policy.get(0, "Statement");
  if (policy.isObject(statements)) judge(resource, policy, statements, out);
  if (!policy.isArray(statements)) return;
  for (let statement = policy.first(statements), end = policy.end(statements); statement < end; statement = policy.after(statement)) {
    if (judge(resource, policy, statement, out)) return;
  }
}

/** True when the statement is at fault; one finding a policy is enough. */
function judge(resource: Resource, policy: JsonDocument, statement: i32, out: Finding[]): bool {
  if (!policy.textIs(policy.get(statement, "Effect"), "Allow") || !holds(policy, policy.get(statement, "Resource"), "*")) return false;
  const actions = policy.get(statement, "Action");
  if (holds(policy, actions, "*") || holds(policy, actions, "*:*")) {
    out.push(
      new Finding("iam-allow-everything", Category.SECURITY, resource, 'policy allows Action "*" on Resource "*"', "Allow only what is needed", 1, <f32>0.97)
        .because("Whoever has the policy can do anything in the account.")
        .set("policy", "the actions and resources in use"),
    );
    return true;
  }
  const services = wholeService(policy, actions);
  if (services == "") return false;
  out.push(
    new Finding("iam-allow-service", Category.SECURITY, resource, "policy allows " + services + ' on Resource "*"', "Narrow the policy to what is needed", 3, <f32>0.8)
      .because("Every action of a service on every resource is far more than one workload uses.")
      .set("policy", "the actions and resources in use"),
  );
  return true;
}

function administrator(resource: Resource, out: Finding[]): void {
  const arn = resource.text("policy_arn");
  if (!arn.endsWith(":policy/AdministratorAccess")) return;
  out.push(
    new Finding("iam-administrator", Category.SECURITY, resource, resource.evidence("policy_arn"), "Take administrator rights away where not needed", 2, <f32>0.85)
      .because("Whoever has it can do anything in the account.")
      .set("policy_arn", "a policy with the actions in use"),
  );
}

function accessKey(resource: Resource, out: Finding[]): void {
  if (resource.known("user") != Known.SET) return;
  out.push(
    new Finding("iam-access-key", Category.SECURITY, resource, resource.evidence("user"), "Replace the long-lived access key by a role", 2, <f32>0.85)
      .because("The key does not expire, and its secret lies in the Terraform state for everyone who can read that.")
      .run(resource.text("id") == "" ? "" : command("aws iam update-access-key --status Inactive --user-name", resource.text("user"), "--access-key-id " + resource.text("id")), "iam:UpdateAccessKey"),
  );
}

function keyRotation(resource: Resource, out: Finding[]): void {
  const spec = resource.text("customer_master_key_spec");
  const usage = resource.text("key_usage");
  if (!resource.isOff("enable_key_rotation") || (spec != "" && spec != "SYMMETRIC_DEFAULT") || (usage != "" && usage != "ENCRYPT_DECRYPT")) return;
  out.push(
    new Finding("kms-no-rotation", Category.SECURITY, resource, resource.evidence("enable_key_rotation"), "Rotate the key every year", 3, <f32>0.9)
      .because("A key that never changes protects ever more with the same secret. Rotation changes nothing for its users.")
      .set("enable_key_rotation", "true")
      .run(command("aws kms enable-key-rotation --key-id", resource.text("key_id")), "kms:EnableKeyRotation"),
  );
}

function trail(resource: Resource, out: Finding[]): void {
  if (resource.isOff("is_multi_region_trail")) {
    out.push(
      new Finding("cloudtrail-one-region", Category.SECURITY, resource, resource.evidence("is_multi_region_trail"), "Record every region", 2, <f32>0.9)
        .because("What happens in other regions, where an intruder would go, leaves no trace in this trail.")
        .set("is_multi_region_trail", "true")
        .run(command("aws cloudtrail update-trail --is-multi-region-trail --name", resource.text("name")), "cloudtrail:UpdateTrail"),
    );
  }
  if (resource.isOff("enable_log_file_validation")) {
    out.push(
      new Finding("cloudtrail-no-validation", Category.SECURITY, resource, resource.evidence("enable_log_file_validation"), "Make changes to the trail's files visible", 3, <f32>0.85)
        .because("Without digests nobody can tell whether the record was altered.")
        .set("enable_log_file_validation", "true")
        .run(command("aws cloudtrail update-trail --enable-log-file-validation --name", resource.text("name")), "cloudtrail:UpdateTrail"),
    );
  }
}
