import { Category, Finding, command } from "../finding";
import { Known, Resource } from "../resource";

export function databaseRules(resource: Resource, out: Finding[]): void {
  if (resource.type == "aws_db_instance") instanceRules(resource, out);
  else if (resource.type == "aws_rds_cluster" || resource.type == "aws_neptune_cluster" || resource.type == "aws_docdb_cluster") clusterRules(resource, out);
  else if (resource.type == "aws_rds_cluster_instance" || resource.type == "aws_neptune_cluster_instance") {
    if (resource.isTrue("publicly_accessible")) out.push(publicDatabase(resource));
  } else if (resource.type == "aws_elasticsearch_domain" || resource.type == "aws_opensearch_domain") searchRules(resource, out);
  else if (resource.type == "aws_dynamodb_table") tableRules(resource, out);
}

function modify(resource: Resource, option: string): string {
  return command("aws rds modify-db-instance --apply-immediately --db-instance-identifier", resource.text("identifier"), option);
}

function publicDatabase(resource: Resource): Finding {
  return new Finding("rds-public", Category.SECURITY, resource, resource.evidence("publicly_accessible"), "Take the database off the internet", 1, <f32>0.95)
    .because("The database has an address that the whole internet can reach; only its security group and password stand in the way.")
    .set("publicly_accessible", "false")
    .run(modify(resource, "--no-publicly-accessible"), "rds:ModifyDBInstance");
}

function instanceRules(resource: Resource, out: Finding[]): void {
  if (resource.isTrue("publicly_accessible")) out.push(publicDatabase(resource));
  const inCluster = resource.text("replicate_source_db") != "";
  if (resource.isOff("storage_encrypted") && !inCluster) out.push(unencrypted(resource));
  if (resource.raw("backup_retention_period") == "0" && !inCluster) out.push(noBackups(resource).run(modify(resource, "--backup-retention-period 7"), "rds:ModifyDBInstance"));
  if (resource.isOff("deletion_protection")) out.push(unprotected(resource).run(modify(resource, "--deletion-protection"), "rds:ModifyDBInstance"));
  if (resource.isFalse("multi_az") && !inCluster) {
    out.push(
      new Finding("rds-single-az", Category.RELIABILITY, resource, resource.evidence("multi_az"), "Run the database in two zones", 4, <f32>0.6)
        .because("When its zone or machine fails, the database is down until it is rebuilt. Worth the double price only where that matters.")
        .set("multi_az", "true")
        .run(modify(resource, "--multi-az"), "rds:ModifyDBInstance"),
    );
  }
  if (resource.text("storage_type") == "gp2") {
    out.push(
      new Finding("rds-gp2", Category.COST, resource, resource.evidence("storage_type"), "Change the database's storage to gp3", 4, <f32>0.75)
        .because("gp3 has a fixed 3000 IOPS at any size, where gp2 has three for each gigabyte.")
        .set("storage_type", '"gp3"')
        .run(modify(resource, "--storage-type gp3"), "rds:ModifyDBInstance"),
    );
  }
}

function clusterRules(resource: Resource, out: Finding[]): void {
  if (resource.isOff("storage_encrypted")) out.push(unencrypted(resource));
  if (resource.isOff("deletion_protection")) {
    const run = resource.type == "aws_rds_cluster" ? command("aws rds modify-db-cluster --apply-immediately --deletion-protection --db-cluster-identifier", resource.text("cluster_identifier")) : "";
    out.push(unprotected(resource).run(run, "rds:ModifyDBCluster"));
  }
  if (resource.type != "aws_rds_cluster" && resource.raw("backup_retention_period") == "0") out.push(noBackups(resource));
}

function unencrypted(resource: Resource): Finding {
  return new Finding("database-unencrypted", Category.SECURITY, resource, resource.evidence("storage_encrypted"), "Encrypt the database's storage", 2, <f32>0.95)
    .because("Its storage, snapshots and backups can be read by whoever gets at them. It cannot be switched on in place: restore an encrypted copy of a snapshot.")
    .set("storage_encrypted", "true");
}

function noBackups(resource: Resource): Finding {
  return new Finding("rds-no-backups", Category.RELIABILITY, resource, resource.evidence("backup_retention_period"), "Back the database up", 2, <f32>0.95)
    .because("Automatic backups are switched off: there is no way back to any earlier moment.")
    .set("backup_retention_period", "7");
}

function unprotected(resource: Resource): Finding {
  const confidence: f32 = resource.known("deletion_protection") == Known.SET ? 0.85 : 0.7;
  return new Finding("rds-no-deletion-protection", Category.RELIABILITY, resource, resource.evidence("deletion_protection"), "Protect the database from deletion", 3, confidence)
    .because("One command or one mistaken plan deletes it.")
    .set("deletion_protection", "true");
}

function searchRules(resource: Resource, out: Finding[]): void {
  const document = resource.document;
  const enabled = document.raw(document.get(resource.block("encrypt_at_rest"), "enabled"));
  if (enabled == "false" || resource.known("encrypt_at_rest") == Known.UNSET) {
    out.push(
      new Finding("search-unencrypted", Category.SECURITY, resource, enabled == "false" ? "encrypt_at_rest.enabled = false" : resource.evidence("encrypt_at_rest"), "Encrypt the search domain", 2, <f32>0.85)
        .because("Its indices lie unencrypted on disk and in snapshots.")
        .set("encrypt_at_rest.enabled", "true")
        .run(command("aws opensearch update-domain-config --encryption-at-rest-options Enabled=true --domain-name", resource.text("domain_name")), "es:UpdateDomainConfig"),
    );
  }
}

function tableRules(resource: Resource, out: Finding[]): void {
  const enabled = resource.document.raw(resource.document.get(resource.block("point_in_time_recovery"), "enabled"));
  if (enabled != "false") return;
  out.push(
    new Finding("dynamodb-no-recovery", Category.RELIABILITY, resource, "point_in_time_recovery.enabled = false", "Make the table recoverable", 3, <f32>0.8)
      .because("A wrong write or delete cannot be undone.")
      .set("point_in_time_recovery.enabled", "true")
      .run(command("aws dynamodb update-continuous-backups --point-in-time-recovery-specification PointInTimeRecoveryEnabled=true --table-name", resource.text("name")), "dynamodb:UpdateContinuousBackups"),
  );
}
