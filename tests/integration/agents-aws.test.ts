/** The aws agent, on the project's fixtures and on every real file when they are there. */
import { existsSync, globSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Suggestion } from "../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import type { MessageResult } from "../../runtime/contract/gen/sirsi/agent/v1/guest_pb.ts";
import { BUILD_TIMEOUT_MS, builtAgent } from "../support/built-agents.ts";
import { Guest } from "../support/guest.ts";
import { countAws } from "../support/terraform-count.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
const FIXTURES = join(ROOT, "tests/fixtures/terraform");
const REAL = join(ROOT, "../shared/data/terraform");

let module: WebAssembly.Module;
let guest: Guest;

beforeAll(async () => {
  ({ module } = await builtAgent("aws"));
}, BUILD_TIMEOUT_MS);

beforeEach(() => {
  guest = new Guest(module);
  guest.init();
});

interface Inventory {
  readonly source: string;
  readonly total: number;
  readonly managed: number;
  readonly data: number;
  readonly by_type: Record<string, number>;
  readonly by_action?: Record<string, number>;
  readonly other_providers: Record<string, number>;
  readonly deleted: readonly string[];
  readonly resources: readonly { readonly address: string; readonly type: string; readonly name: string; readonly module: string | null; readonly mode: string; readonly region: string | null; readonly action?: string; readonly tags: Record<string, string> }[];
}

const attached = (name: string, value: Uint8Array) => ({ attachments: [{ name, mimeType: "application/json", content: { case: "data" as const, value } }] });
const fixture = (name: string) => new Uint8Array(readFileSync(join(FIXTURES, name)));
const sendFixture = (name: string) => guest.message(attached(name, fixture(name)));
const sendJson = (value: unknown) => guest.send(attached("input.json", new TextEncoder().encode(JSON.stringify(value))));

function inventoryOf(result: MessageResult): Inventory {
  const attachment = result.response!.attachments.find(({ name }) => name === "inventory.json");
  return JSON.parse(new TextDecoder().decode(attachment!.content.value as Uint8Array)) as Inventory;
}

const found = (suggestions: readonly Suggestion[]) => suggestions.map(({ metadata }) => `${metadata.rule} ${metadata.resource}`).toSorted();
const finding = (result: MessageResult, rule: string, resource: string) => result.suggestions.find(({ metadata }) => metadata.rule === rule && metadata.resource === resource);

describe("a state", () => {
  test("is listed with address, module, region and tags", () => {
    const result = sendFixture("aws-state.json");
    const inventory = inventoryOf(result);
    expect(inventory).toMatchObject({ source: "state", total: 30, managed: 29, data: 1, other_providers: { null: 1 } });
    const of = (address: string) => inventory.resources.find((resource) => resource.address === address);
    expect(of('aws_instance.worker["a"]')).toEqual({ address: 'aws_instance.worker["a"]', type: "aws_instance", name: "worker", module: null, mode: "managed", provider: "aws", region: "eu-central-1", tags: { Owner: "shop", Environment: "prod", Name: "worker-a" } });
    expect(of('module.db.module.logs["eu"].aws_cloudwatch_log_group.slow')).toMatchObject({ region: "us-east-1", module: 'module.db.module.logs["eu"]' });
    expect(of("aws_iam_policy.admin")).toMatchObject({ region: null, tags: { Owner: "shop" } });
    expect(of("data.aws_caller_identity.me")).toMatchObject({ mode: "data" });
    const text = result.response!.content;
    expect(text).toContain("30 AWS entries of 20 types");
    expect(text).toContain("3 × aws_instance");
    expect(text).toContain('aws_instance.worker["a"] (eu-central-1, Name=worker-a)');
    expect(text).toContain("Left out, of other providers: 1 of null.");
  });

  test("gets exactly the findings that its attributes give cause for", () => {
    expect(found(sendFixture("aws-state.json").suggestions)).toEqual(
      [
        "cloudtrail-one-region aws_cloudtrail.main",
        "database-unencrypted module.db.aws_db_instance.main",
        "eip-unattached aws_eip.spare",
        "eks-public-endpoint aws_eks_cluster.shop",
        'hard-coded-credentials aws_instance.worker["a"]',
        "hard-coded-credentials aws_lambda_function.mailer",
        "iam-allow-everything aws_iam_policy.admin",
        "imdsv2-not-required aws_instance.web[0]",
        "kms-no-rotation aws_kms_key.data",
        "lambda-runtime-ended aws_lambda_function.mailer",
        "lb-listener-http aws_lb_listener.http",
        "logs-kept-forever aws_cloudwatch_log_group.app",
        "missing-tags aws_eks_cluster.shop",
        "previous-generation aws_instance.web[0]",
        "previous-generation module.db.aws_db_instance.main",
        "rds-gp2 module.db.aws_db_instance.main",
        "rds-no-backups module.db.aws_db_instance.main",
        "rds-no-deletion-protection module.db.aws_db_instance.main",
        "rds-public module.db.aws_db_instance.main",
        "rds-single-az module.db.aws_db_instance.main",
        "s3-no-encryption-setting aws_s3_bucket.assets",
        "s3-no-public-access-block aws_s3_bucket.assets",
        "s3-no-versioning aws_s3_bucket.assets",
        "s3-public-acl aws_s3_bucket.assets",
        "security-group-open-admin aws_security_group.bastion",
        "security-group-open-admin aws_security_group_rule.everything",
        "security-group-open-admin aws_vpc_security_group_ingress_rule.rdp",
        "volume-gp2 aws_ebs_volume.scratch",
        "volume-gp2 aws_instance.web[0]",
        "volume-unencrypted aws_ebs_volume.scratch",
        "volume-unencrypted aws_instance.web[0]",
      ].toSorted(),
    );
  });

  test("findings cite what was seen, carry a command, and come by urgency", () => {
    const result = sendFixture("aws-state.json");
    for (const { suggestionId, title, description, confidence, priority, metadata, action } of result.suggestions) {
      expect(title).toContain(metadata.resource);
      expect(description).toContain(`Seen: ${metadata.evidence}.`);
      expect(metadata.evidence).not.toBe("");
      expect(confidence).toBeGreaterThan(0.5);
      expect(priority).toBeGreaterThanOrEqual(1);
      expect(priority).toBeLessThanOrEqual(5);
      expect(suggestionId).not.toBe("");
      expect(action!.command).toMatch(/^(aws [a-z0-9]+ [a-z-]+ |terraform plan -target=)/);
    }
    const priorities = result.suggestions.map(({ priority }) => priority);
    expect(priorities).toEqual(priorities.toSorted((a, b) => a - b));
    expect(new Set(result.suggestions.map(({ suggestionId }) => suggestionId)).size).toBe(result.suggestions.length);
    expect(finding(result, "security-group-open-admin", "aws_security_group.bastion")).toMatchObject({
      priority: 1,
      metadata: { evidence: 'ingress.cidr_blocks has "0.0.0.0/0", protocol tcp, ports 22' },
      action: { actionType: "aws-cli", command: "aws ec2 revoke-security-group-ingress --group-id sg-0b1 --ip-permissions 'IpProtocol=tcp,FromPort=22,ToPort=22,IpRanges=[{CidrIp=0.0.0.0/0}]' --region eu-central-1", requiredPermissions: ["ec2:RevokeSecurityGroupIngress"] },
    });
  });

  test("secrets are found and never repeated", () => {
    const result = sendFixture("aws-state.json");
    expect(finding(result, "hard-coded-credentials", "aws_lambda_function.mailer")!.metadata.evidence).toBe("environment.variables.SMTP_PASSWORD holds what its name calls a secret");
    expect(finding(result, "hard-coded-credentials", 'aws_instance.worker["a"]')!.metadata.evidence).toBe("user_data holds an AWS access key id");
    const findings = guest.message("findings").response!.content;
    const said = JSON.stringify(result.suggestions) + result.response!.content + findings + JSON.stringify(inventoryOf(result)) + new TextDecoder().decode(guest.save().state);
    for (const secret of ["n0t-for-your-eyes", "AKIAEXAMPLEEXAMPLE77", "do-not-print-me"]) expect(said).not.toContain(secret);
  });

  test("the same resources as a raw terraform.tfstate give the same inventory and findings", () => {
    const shown = sendFixture("aws-state.json");
    const raw = guest.message(attached("terraform.tfstate", new TextEncoder().encode(JSON.stringify(asRawState(JSON.parse(new TextDecoder().decode(fixture("aws-state.json"))))))));
    expect(inventoryOf(raw)).toMatchObject({ source: "tfstate", total: 30, by_type: inventoryOf(shown).by_type });
    expect(inventoryOf(raw).resources.map(({ address, region }) => [address, region])).toEqual(inventoryOf(shown).resources.map(({ address, region }) => [address, region]));
    expect(found(raw.suggestions)).toEqual(found(shown.suggestions));
  });

  test("names from the file are quoted in commands", () => {
    const values = { identifier: "x'; rm -rf ~ #", publicly_accessible: true };
    const result = sendJson({ format_version: "1.0", values: { root_module: { resources: [{ address: "aws_db_instance.x", mode: "managed", type: "aws_db_instance", name: "x", provider_name: "aws", values }] } } });
    const suggestion = result.case === "message" ? finding(result.value, "rds-public", "aws_db_instance.x") : undefined;
    expect(suggestion!.action!.command).toBe(String.raw`aws rds modify-db-instance --apply-immediately --db-instance-identifier 'x'\''; rm -rf ~ #' --no-publicly-accessible`);
  });
});

interface Shown {
  readonly values: { readonly root_module: ShownModule };
}
interface ShownModule {
  readonly address?: string;
  readonly resources?: readonly { readonly mode: string; readonly type: string; readonly name: string; readonly provider_name: string; readonly index?: unknown; readonly values: unknown }[];
  readonly child_modules?: readonly ShownModule[];
}

function asRawState(state: Shown): unknown {
  const rows = (module: ShownModule): unknown[] => [
    ...(module.resources ?? []).map(({ mode, type, name, provider_name: provider, index, values }) => ({
      ...(module.address === undefined ? {} : { module: module.address }),
      mode,
      type,
      name,
      provider: `provider["${provider}"].alias`,
      instances: [{ ...(index === undefined ? {} : { index_key: index }), schema_version: 0, attributes: values }],
    })),
    ...(module.child_modules ?? []).flatMap(rows),
  ];
  return { version: 4, terraform_version: "1.6.6", serial: 3, lineage: "x", outputs: {}, resources: rows(state.values.root_module) };
}

describe("a plan", () => {
  test("is listed with what it does, and regions from the provider's configuration", () => {
    const inventory = inventoryOf(sendFixture("aws-plan.json"));
    expect(inventory).toMatchObject({ source: "plan", total: 11, by_action: { create: 9, update: 1, replace: 1, delete: 1 }, deleted: ["aws_instance.legacy"] });
    const region = Object.fromEntries(inventory.resources.map((resource) => [resource.address, resource.region]));
    expect(region).toMatchObject({ "aws_ebs_volume.data": "eu-west-1", "aws_kms_key.us": "us-east-1", "aws_iam_role.api": null, 'module.jobs["night"].aws_cloudwatch_log_group.jobs': "eu-west-1" });
  });

  test("what is known only after apply is no finding; a reference to a bucket is understood", () => {
    expect(found(sendFixture("aws-plan.json").suggestions)).toEqual([
      'logs-kept-forever module.jobs["night"].aws_cloudwatch_log_group.jobs',
      "previous-generation aws_instance.api[0]",
      "previous-generation aws_instance.api[1]",
      "rds-no-deletion-protection aws_db_instance.orders",
      "s3-no-public-access-block aws_s3_bucket.backup",
      "volume-gp2 aws_ebs_volume.old",
    ]);
  });

  test("a command acts on what exists; for the rest Terraform is to plan again", () => {
    const result = sendFixture("aws-plan.json");
    expect(finding(result, "volume-gp2", "aws_ebs_volume.old")!.action).toMatchObject({ actionType: "aws-cli", command: "aws ec2 modify-volume --volume-type gp3 --volume-id vol-77 --region eu-west-1" });
    expect(finding(result, "previous-generation", "aws_instance.api[0]")!.action).toMatchObject({ actionType: "terraform", command: "terraform plan -target='aws_instance.api[0]'", parameters: { attribute: "instance_type", value: '"m6i.large"' } });
  });

  test("that has only resource_changes is read from them", () => {
    const plan = JSON.parse(new TextDecoder().decode(fixture("aws-plan.json"))) as Record<string, unknown>;
    const { planned_values: _left, ...rest } = plan;
    const result = sendJson(rest);
    expect(result.case === "message" && inventoryOf(result.value).total).toBe(11);
  });
});

describe("state and suggestions", () => {
  test("before the first inventory it asks for one", () => {
    expect(guest.suggest()).toMatchObject([{ action: { command: "terraform show -json > state.json" } }]);
    expect(guest.send("inventory")).toMatchObject({ case: "error", value: { code: "failed_precondition" } });
    expect(guest.health().message).toBe("no inventory yet");
  });

  test("suggestions come from the last inventory, by category and rule when asked", () => {
    const { suggestions } = sendFixture("aws-state.json");
    expect(guest.suggest(5).map(({ suggestionId }) => suggestionId)).toEqual(suggestions.slice(0, 5).map(({ suggestionId }) => suggestionId));
    expect(new Set(guest.suggest(100, "cost").map(({ metadata }) => metadata.category))).toEqual(new Set(["cost"]));
    expect(found(guest.suggest(100, "", ["eip-unattached"]))).toEqual(["eip-unattached aws_eip.spare"]);
  });

  test("the last answer survives save and load, whole", () => {
    const first = sendFixture("aws-state.json");
    const saved = guest.save();
    const other = new Guest(module);
    other.init();
    expect(other.load(saved.schema, saved.state).case).toBe("done");
    const again = other.message("inventory");
    expect(again.response).toEqual(first.response);
    expect(again.suggestions).toEqual(first.suggestions);
    expect(other.load(1, Uint8Array.of(1, 2, 3))).toMatchObject({ case: "error", value: { code: "invalid_argument" } });
  });

  test("a failed message leaves the last inventory as it was", () => {
    sendFixture("aws-state.json");
    expect(guest.send("{").case).toBe("error");
    expect(guest.message("inventory").response!.metadata).toMatchObject({ resources: "30", findings: "31", source: "state" });
  });
});

describe("what is not AWS in Terraform's JSON", () => {
  test.each([
    ["no input", "hello", /no Terraform JSON in the message.*expected/],
    ["broken JSON", '{"values": [}', /not JSON \(line 1, column 13: expected a value\); expected/],
    ["another JSON", '{"apiVersion":"v1","kind":"Pod"}', /neither a Terraform state nor a plan \(its members are apiVersion, kind\)/],
    ["an array", "[]", /it is not an object/],
    ["an empty object", "{}", /it is an empty object/],
    ["an empty state", '{"format_version":"1.0"}', /the state is empty/],
    ["a state without resources", '{"format_version":"1.0","values":{"root_module":{}}}', /holds no resources/],
    ["an old state file", '{"version":3,"lineage":"x","resources":[]}', /version 3, and only version 4/],
    ["another cloud", '{"format_version":"1.0","values":{"root_module":{"resources":[{"address":"azurerm_x.y","type":"azurerm_x","name":"y","provider_name":"r/h/azurerm","values":{}}]}}}', /no AWS resources, only those of azurerm/],
    ["values of the wrong shape", '{"format_version":"1.0","values":{"root_module":{"resources":[1,null,"x",[]],"child_modules":{}}}}', /only those of unknown/],
  ])("%s is an error that says what was expected", (_what, content, message) => {
    expect(guest.send(content)).toMatchObject({ case: "error", value: { code: "invalid_argument", message: expect.stringMatching(message) } });
  });

  test("an attachment that is only a URL is refused", () => {
    expect(guest.send({ attachments: [{ name: "state.json", content: { case: "url", value: "https://example.org/state.json" } }] })).toMatchObject({ case: "error", value: { code: "invalid_argument", message: expect.stringContaining("send the bytes") } });
  });

  test("attributes of any wrong type are no finding and no trap", () => {
    const wrong = [null, true, 0, -1.5e300, "", "x", [], [[]], [null], {}, { a: {} }];
    const state = JSON.parse(new TextDecoder().decode(fixture("aws-state.json"))) as Shown;
    for (const value of wrong) {
      const resources = state.values.root_module.resources!.map((resource) => ({ ...resource, values: Object.fromEntries(Object.keys(resource.values as object).map((key) => [key, value])) }));
      expect(sendJson({ ...state, values: { root_module: { resources } } }).case).toBe("message");
    }
    for (const value of wrong) expect(sendJson({ format_version: "1.0", planned_values: value, resource_changes: value, configuration: value, values: value }).case).toBe("error");
  });
});

const real = existsSync(REAL) ? globSync(join(REAL, "**/*.json")) : [];
const files = [...real, ...["aws-state.json", "aws-plan.json"].map((name) => join(FIXTURES, name))].toSorted();

describe.each(files.map((file) => [basename(file), file] as const))("%s", (name, file) => {
  test("is counted as an independent count does, or refused because it has no AWS", () => {
    const bytes = new Uint8Array(readFileSync(file));
    const counts = countAws(bytes);
    const result = guest.send(attached(name, bytes));
    if (counts.total === 0) {
      expect(result).toMatchObject({ case: "error", value: { code: "invalid_argument" } });
      return;
    }
    const inventory = inventoryOf((result as { value: MessageResult }).value);
    expect({ total: inventory.total, byType: inventory.by_type, addresses: inventory.resources.map(({ address }) => address).toSorted() }).toEqual(counts);
    expect(guest.suggest(100).every(({ metadata }) => inventory.resources.some(({ address }) => address === metadata.resource))).toBe(true);
  });
});
