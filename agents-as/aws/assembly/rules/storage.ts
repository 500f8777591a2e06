import { MISSING } from "@sirsi/agent-sdk/json";
import { Category, Finding, command, quote } from "../finding";
import { withoutKeys } from "../region";
import { Known, Resource } from "../resource";
import { Estate } from "../terraform";

/** Which buckets have a resource of their own for encryption, versioning and so on. */
export class Companions {
  /** "type|bucket name" and "type|bucket address", to the companion. */
  private readonly byBucket: Map<string, Resource> = new Map<string, Resource>();
  /** Types with a companion whose bucket nobody can tell: no bucket can be said to lack one. */
  private readonly unplaced: Set<string> = new Set<string>();

  constructor(estate: Estate) {
    const configuration = estate.configuration;
    for (let i = 0; i < estate.resources.length; i++) {
      const resource = estate.resources[i];
      if (!resource.type.startsWith("aws_s3_bucket_") || !resource.isManaged) continue;
      const bucket = resource.text("bucket");
      const reference = configuration === null ? "" : configuration.reference(resource, "bucket");
      if (bucket != "") this.byBucket.set(resource.type + "|" + bucket, resource);
      if (reference != "") this.byBucket.set(resource.type + "|" + reference, resource);
      if (bucket == "" && reference == "") this.unplaced.add(resource.type);
    }
  }

  find(type: string, bucket: Resource): Resource | null {
    const name = type + "|" + bucket.text("bucket");
    if (this.byBucket.has(name)) return this.byBucket.get(name);
    const address = type + "|" + withoutKeys(bucket.address);
    return this.byBucket.has(address) ? this.byBucket.get(address) : null;
  }

  cannotTell(type: string): bool {
    return this.unplaced.has(type);
  }
}

export function storageRules(resource: Resource, companions: Companions, out: Finding[]): void {
  if (resource.type == "aws_s3_bucket") bucketRules(resource, companions, out);
  else if (resource.type == "aws_s3_bucket_public_access_block") accessBlock(resource, out);
  else if (resource.type == "aws_s3_bucket_acl") publicAcl(resource, out);
  else if (resource.type == "aws_ebs_volume") {
    if (resource.isOff("encrypted")) out.push(unencrypted(resource, resource.evidence("encrypted"), "encrypted", 2));
    if (resource.text("type") == "gp2") out.push(oldVolume(resource, resource.evidence("type"), "type", command("aws ec2 modify-volume --volume-type gp3 --volume-id", resource.text("id"))));
  } else if (resource.type == "aws_ebs_snapshot" && resource.isFalse("encrypted")) out.push(unencrypted(resource, resource.evidence("encrypted"), "encrypted", 3));
  else if (resource.type == "aws_instance" || resource.type == "aws_launch_configuration") {
    blockDevices(resource, "root_block_device", out);
    blockDevices(resource, "ebs_block_device", out);
  } else if (resource.type == "aws_launch_template") templateDevices(resource, out);
  else if (resource.type == "aws_efs_file_system" && resource.isOff("encrypted")) out.push(unencrypted(resource, resource.evidence("encrypted"), "encrypted", 2));
}

function bucketRules(resource: Resource, companions: Companions, out: Finding[]): void {
  publicAcl(resource, out);
  if (companions.find("aws_s3_bucket_public_access_block", resource) === null && !companions.cannotTell("aws_s3_bucket_public_access_block")) {
    out.push(
      new Finding("s3-no-public-access-block", Category.SECURITY, resource, "no aws_s3_bucket_public_access_block names the bucket", "Block public access to the bucket", 3, <f32>0.7)
        .because("One wrong policy or ACL opens the bucket; the block makes that impossible. Buckets made since April 2023 have it by default, older ones do not.")
        .run(accessBlockCommand(resource), "s3:PutBucketPublicAccessBlock"),
    );
  }
  if (resource.known("server_side_encryption_configuration") == Known.UNSET && !has(companions, "aws_s3_bucket_server_side_encryption_configuration", resource)) {
    out.push(
      new Finding("s3-no-encryption-setting", Category.SECURITY, resource, resource.evidence("server_side_encryption_configuration"), "Say how the bucket is encrypted", 4, <f32>0.6)
        .because("S3 encrypts with its own keys when nothing is said; a KMS key of yours also controls and records who decrypts.")
        .run(command("aws s3api put-bucket-encryption --bucket", resource.text("bucket"), '--server-side-encryption-configuration \'{"Rules":[{"ApplyServerSideEncryptionByDefault":{"SSEAlgorithm":"aws:kms"}}]}\''), "s3:PutEncryptionConfiguration"),
    );
  }
  versioning(resource, companions, out);
}

function has(companions: Companions, type: string, bucket: Resource): bool {
  return companions.cannotTell(type) || companions.find(type, bucket) !== null;
}

function versioning(resource: Resource, companions: Companions, out: Finding[]): void {
  const document = resource.document;
  let evidence = "";
  const companion = companions.find("aws_s3_bucket_versioning", resource);
  if (companion !== null) {
    const status = companion.document.text(companion.document.get(companion.block("versioning_configuration"), "status"));
    if (status == "" || status == "Enabled") return;
    evidence = companion.address + ': versioning_configuration.status = "' + status + '"';
  } else {
    if (companions.cannotTell("aws_s3_bucket_versioning")) return;
    const known = resource.known("versioning");
    const enabled = document.raw(document.get(resource.block("versioning"), "enabled"));
    if (known == Known.UNSET) evidence = resource.evidence("versioning");
    else if (enabled == "false") evidence = "versioning.enabled = false";
    else return;
  }
  out.push(
    new Finding("s3-no-versioning", Category.RELIABILITY, resource, evidence, "Keep old versions of the bucket's objects", 3, <f32>0.8)
      .because("An object that is overwritten or deleted, by mistake or by an intruder, is gone.")
      .run(command("aws s3api put-bucket-versioning --versioning-configuration Status=Enabled --bucket", resource.text("bucket")), "s3:PutBucketVersioning"),
  );
}

function accessBlockCommand(bucket: Resource): string {
  return command("aws s3api put-public-access-block --public-access-block-configuration BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true --bucket", bucket.text("bucket"));
}

function accessBlock(resource: Resource, out: Finding[]): void {
  const switches = ["block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets"];
  for (let i = 0; i < switches.length; i++) {
    if (!resource.isOff(switches[i])) continue;
    out.push(
      new Finding("s3-public-access-not-blocked", Category.SECURITY, resource, resource.evidence(switches[i]), "Block every way to public access", 2, <f32>0.9)
        .because("The bucket's block leaves a way open.")
        .set(switches[i], "true")
        .run(accessBlockCommand(resource), "s3:PutBucketPublicAccessBlock"),
    );
    return;
  }
}

function publicAcl(resource: Resource, out: Finding[]): void {
  const acl = resource.text("acl");
  if (acl != "public-read" && acl != "public-read-write" && acl != "authenticated-read") return;
  out.push(
    new Finding("s3-public-acl", Category.SECURITY, resource, resource.evidence("acl"), "Make the bucket private", 1, <f32>0.95)
      .because(acl == "public-read-write" ? "Anyone can read and change the bucket's objects." : "Anyone can read the bucket's objects.")
      .set("acl", '"private"')
      .run(command("aws s3api put-bucket-acl --acl private --bucket", resource.text("bucket")), "s3:PutBucketAcl"),
  );
}

function unencrypted(resource: Resource, evidence: string, attribute: string, priority: i32): Finding {
  return new Finding("volume-unencrypted", Category.SECURITY, resource, evidence, "Encrypt the storage", priority, <f32>0.95)
    .because("Whoever gets at the volume or a snapshot of it reads it. Encryption cannot be switched on in place: the volume is copied.")
    .set(attribute, "true")
    .run(resource.type == "aws_efs_file_system" ? "" : "aws ec2 enable-ebs-encryption-by-default", "ec2:EnableEbsEncryptionByDefault");
}

function oldVolume(resource: Resource, evidence: string, attribute: string, run: string): Finding {
  return new Finding("volume-gp2", Category.COST, resource, evidence, "Change the volume to gp3", 4, <f32>0.9)
    .because("gp3 costs about a fifth less per gigabyte than gp2, with 3000 IOPS at any size, and changes without an interruption.")
    .set(attribute, '"gp3"')
    .run(run, "ec2:ModifyVolume");
}

function blockDevices(resource: Resource, name: string, out: Finding[]): void {
  const document = resource.document;
  const devices = resource.node(name);
  if (!document.isArray(devices)) return;
  let index = 0;
  for (let device = document.first(devices), end = document.end(devices); device < end; device = document.after(device)) {
    const path = name + "[" + index.toString() + "].";
    index++;
    if (document.raw(document.get(device, "encrypted")) == "false") out.push(unencrypted(resource, path + "encrypted = false", path + "encrypted", 2));
    if (document.textIs(document.get(device, "volume_type"), "gp2")) {
      out.push(oldVolume(resource, path + 'volume_type = "gp2"', path + "volume_type", command("aws ec2 modify-volume --volume-type gp3 --volume-id", document.text(document.get(device, "volume_id")))));
    }
  }
}

function templateDevices(resource: Resource, out: Finding[]): void {
  const document = resource.document;
  const mappings = resource.node("block_device_mappings");
  if (!document.isArray(mappings)) return;
  for (let mapping = document.first(mappings), end = document.end(mappings); mapping < end; mapping = document.after(mapping)) {
    const ebs = document.at(document.get(mapping, "ebs"), 0);
    const encrypted = document.get(ebs, "encrypted");
    const value = document.isText(encrypted) ? document.text(encrypted) : document.raw(encrypted);
    if (value == "false") out.push(unencrypted(resource, "block_device_mappings.ebs.encrypted = " + value, "block_device_mappings.ebs.encrypted", 2));
    if (document.textIs(document.get(ebs, "volume_type"), "gp2")) out.push(oldVolume(resource, 'block_device_mappings.ebs.volume_type = "gp2"', "block_device_mappings.ebs.volume_type", ""));
  }
}

/** Elastic addresses in a state that nothing uses. A plan cannot tell: attachments are known after apply. */
export function addressRules(resource: Resource, attached: Set<string>, out: Finding[]): void {
  if (resource.type != "aws_eip" || resource.action != "") return;
  const id = resource.text("allocation_id") == "" ? resource.text("id") : resource.text("allocation_id");
  if (id == "" || attached.has(id) || resource.node("association_id") == MISSING) return;
  if (resource.text("association_id") != "" || resource.text("instance") != "" || resource.text("network_interface") != "") return;
  out.push(
    new Finding("eip-unattached", Category.COST, resource, resource.evidence("association_id"), "Release the unused elastic address", 4, <f32>0.8)
      .because("The address is attached to nothing and is billed by the hour.")
      .run("aws ec2 release-address --allocation-id " + quote(id), "ec2:ReleaseAddress"),
  );
}
