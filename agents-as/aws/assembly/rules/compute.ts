import { Category, Finding, command } from "../finding";
import { Known, Resource } from "../resource";

export function computeRules(resource: Resource, out: Finding[]): void {
  const type = resource.type;
  if (type == "aws_instance") {
    oldFamily(resource, "instance_type", resource.text("instance_type"), "", out);
    metadataService(resource, out);
  } else if (type == "aws_launch_template" || type == "aws_launch_configuration") {
    oldFamily(resource, "instance_type", resource.text("instance_type"), "", out);
    metadataService(resource, out);
  } else if (type == "aws_db_instance" || type == "aws_rds_cluster_instance" || type == "aws_neptune_cluster_instance") oldFamily(resource, "instance_class", resource.text("instance_class"), "db.", out);
  else if (type == "aws_elasticache_cluster" || type == "aws_elasticache_replication_group") oldFamily(resource, "node_type", resource.text("node_type"), "cache.", out);
  else if (type == "aws_eks_node_group") oldFamily(resource, "instance_types", resource.document.text(resource.document.at(resource.node("instance_types"), 0)), "", out);
  else if (type == "aws_lambda_function") oldRuntime(resource, out);
  else if (type == "aws_eks_cluster") publicCluster(resource, out);
  else if (type == "aws_ecr_repository") imageScanning(resource, out);
}

/** The family that replaced a previous-generation one; "" for a current one. */
function successor(family: string): string {
  if (family == "t1" || family == "t2") return "t3";
  if (family == "m1" || family == "m2" || family == "m3" || family == "m4") return "m6i";
  if (family == "c1" || family == "cc2" || family == "c3" || family == "c4") return "c6i";
  if (family == "cr1" || family == "r3" || family == "r4") return "r6i";
  if (family == "i2") return "i3";
  if (family == "d2" || family == "hs1") return "d3";
  if (family == "g2" || family == "g3") return "g5";
  return family == "p2" ? "p3" : "";
}

function oldFamily(resource: Resource, attribute: string, size: string, prefix: string, out: Finding[]): void {
  if (!size.startsWith(prefix)) return;
  const bare = size.substring(prefix.length);
  const dot = bare.indexOf(".");
  const next = successor(dot < 0 ? "" : bare.substring(0, dot));
  if (next == "") return;
  const better = prefix + (prefix == "cache." || prefix == "db." ? next.replace("6i", "6g") : next) + bare.substring(dot);
  out.push(
    new Finding("previous-generation", Category.COST, resource, attribute + ' = "' + size + '"', "Move from " + size + " to a current generation", 4, <f32>0.8)
      .because("The " + bare.substring(0, dot) + " family is of a previous generation: a current one does more for the same money. " + better + " is the nearest; check that the size exists and fits.")
      .set(attribute, '"' + better + '"')
      .run(resource.type == "aws_instance" ? command("aws ec2 modify-instance-attribute --instance-type " + better + " --instance-id", resource.text("id")) : "", "ec2:ModifyInstanceAttribute"),
  );
}

function metadataService(resource: Resource, out: Finding[]): void {
  const known = resource.known("metadata_options");
  if (known == Known.NO) return;
  const document = resource.document;
  const options = resource.block("metadata_options");
  const tokens = document.text(document.get(options, "http_tokens"));
  if (document.textIs(document.get(options, "http_endpoint"), "disabled") || tokens == "required") return;
  // Options without http_tokens: it is known after apply.
  if (known == Known.SET && tokens == "" && document.raw(document.get(options, "http_tokens")) != "null") return;
  const evidence = known == Known.UNSET ? resource.evidence("metadata_options") : 'metadata_options.http_tokens = "' + tokens + '"';
  out.push(
    new Finding("imdsv2-not-required", Category.SECURITY, resource, evidence, "Require tokens for instance metadata", 2, known == Known.UNSET ? <f32>0.75 : <f32>0.95)
      .because("With version 1 of the metadata service, a request forged through the machine's own web server hands out its credentials.")
      .set("metadata_options.http_tokens", '"required"')
      .run(resource.type == "aws_instance" ? command("aws ec2 modify-instance-metadata-options --http-tokens required --http-endpoint enabled --instance-id", resource.text("id")) : "", "ec2:ModifyInstanceMetadataOptions"),
  );
}

/** Runtimes that Lambda no longer supports. */
const OLD_RUNTIMES: string[] = ["dotnetcore1.0", "dotnetcore2.0", "dotnetcore2.1", "dotnetcore3.1", "dotnet5.0", "dotnet6", "dotnet7", "go1.x", "java8", "nodejs", "nodejs4.3", "nodejs6.10", "nodejs8.10", "nodejs10.x", "nodejs12.x", "nodejs14.x", "nodejs16.x", "nodejs18.x", "provided", "python2.7", "python3.6", "python3.7", "python3.8", "ruby2.5", "ruby2.7"];

function oldRuntime(resource: Resource, out: Finding[]): void {
  if (!OLD_RUNTIMES.includes(resource.text("runtime"))) return;
  out.push(
    new Finding("lambda-runtime-ended", Category.SECURITY, resource, resource.evidence("runtime"), "Move the function to a supported runtime", 3, <f32>0.9)
      .because("The runtime gets no security fixes any more, and functions on it can no longer be created or, later, updated.")
      .set("runtime", "a supported runtime"),
  );
}

function publicCluster(resource: Resource, out: Finding[]): void {
  const document = resource.document;
  const vpc = resource.block("vpc_config");
  if (document.raw(document.get(vpc, "endpoint_public_access")) != "true") return;
  const ranges = document.get(vpc, "public_access_cidrs");
  const first = document.text(document.at(ranges, 0));
  // Stated and narrower than everyone.
  if (document.size(ranges) > 0 && first != "0.0.0.0/0" && first != "") return;
  const evidence = "vpc_config.endpoint_public_access = true" + (first == "" ? "" : ', public_access_cidrs has "' + first + '"');
  out.push(
    new Finding("eks-public-endpoint", Category.SECURITY, resource, evidence, "Narrow who reaches the cluster's API", 2, first == "" ? <f32>0.75 : <f32>0.95)
      .because("The Kubernetes API answers the whole internet; a leaked token is all that is needed to use it.")
      .set("vpc_config.public_access_cidrs", "the ranges that need it")
      .run(command("aws eks update-cluster-config --resources-vpc-config endpointPublicAccess=false,endpointPrivateAccess=true --name", resource.text("name")), "eks:UpdateClusterConfig"),
  );
}

function imageScanning(resource: Resource, out: Finding[]): void {
  const pushed = resource.document.raw(resource.document.get(resource.block("image_scanning_configuration"), "scan_on_push"));
  if (pushed != "false" && resource.known("image_scanning_configuration") != Known.UNSET) return;
  out.push(
    new Finding("ecr-no-scan", Category.SECURITY, resource, pushed == "false" ? "image_scanning_configuration.scan_on_push = false" : resource.evidence("image_scanning_configuration"), "Scan images when they are pushed", 4, <f32>0.75)
      .because("Known weaknesses in the images go unseen.")
      .set("image_scanning_configuration.scan_on_push", "true")
      .run(command("aws ecr put-image-scanning-configuration --image-scanning-configuration scanOnPush=true --repository-name", resource.text("name")), "ecr:PutImageScanningConfiguration"),
  );
}
