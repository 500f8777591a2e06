import { Category, Finding, command } from "../finding";
import { Known, Resource } from "../resource";
import { Estate } from "../terraform";

export function hygieneRules(resource: Resource, out: Finding[]): void {
  if (resource.type != "aws_cloudwatch_log_group") return;
  const known = resource.known("retention_in_days");
  if (known != Known.UNSET && resource.raw("retention_in_days") != "0") return;
  out.push(
    new Finding("logs-kept-forever", Category.COST, resource, resource.evidence("retention_in_days"), "Say how long logs are kept", 4, <f32>0.9)
      .because("Without a limit the logs are kept, and billed, for ever.")
      .set("retention_in_days", "90")
      .run(command("aws logs put-retention-policy --retention-in-days 90 --log-group-name", resource.text("name")), "logs:PutRetentionPolicy"),
  );
}

/** Resources worth a tag of their own: what is billed or holds data. */
const TAGGED: string[] = ["aws_instance", "aws_s3_bucket", "aws_db_instance", "aws_rds_cluster", "aws_ebs_volume", "aws_eks_cluster", "aws_lambda_function", "aws_lb", "aws_elb", "aws_vpc", "aws_dynamodb_table", "aws_efs_file_system", "aws_elasticache_cluster", "aws_kms_key", "aws_security_group", "aws_eip", "aws_nat_gateway", "aws_ecr_repository", "aws_neptune_cluster"];
const NAMED_MAX: i32 = 10;

/** One finding for all resources without tags: a finding each would bury the rest. */
export function tagRules(estate: Estate, out: Finding[]): void {
  const bare: Resource[] = [];
  for (let i = 0; i < estate.resources.length; i++) {
    const resource = estate.resources[i];
    if (resource.isManaged && TAGGED.includes(resource.type) && untagged(resource)) bare.push(resource);
  }
  if (bare.length == 0) return;
  const names: string[] = [];
  for (let i = 0; i < bare.length && i < NAMED_MAX; i++) names.push(bare[i].address);
  const rest = bare.length > NAMED_MAX ? " and " + (bare.length - NAMED_MAX).toString() + " more" : "";
  out.push(
    new Finding("missing-tags", Category.OPERATIONS, bare[0], bare[0].evidence("tags"), bare.length == 1 ? "Tag the resource" : "Tag " + bare.length.toString() + " resources, beginning with", 5, <f32>0.8)
      .because("Cost and ownership cannot be told without tags; default_tags of the provider sets them once for all. Without any: " + names.join(", ") + rest + ".")
      .set("tags", "at least an owner and an environment"),
  );
}

function untagged(resource: Resource): bool {
  const document = resource.document;
  if (resource.known("tags") == Known.NO) return false;
  const tags = resource.node("tags");
  if (document.isObject(tags) && document.size(tags) > 0) return false;
  // tags_all has the provider's default tags too; when it is known after apply, nobody can tell.
  const unknown = document.get(resource.unknown, "tags_all");
  return document.size(resource.node("tags_all")) == 0 && !document.boolean(unknown) && document.size(unknown) == 0;
}
