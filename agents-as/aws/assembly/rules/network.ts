import { JsonDocument } from "@sirsi/agent-sdk";
import { MISSING } from "@sirsi/agent-sdk/json";
import { Category, Finding, quote } from "../finding";
import { Known, Resource } from "../resource";

class Port {
  constructor(
    public readonly number: i32,
    public readonly service: string,
  ) {}
}

/** Ports that let whoever reaches them administer a machine or read a database. */
const ADMIN_PORTS: Port[] = [
  new Port(22, "SSH"),
  new Port(23, "Telnet"),
  new Port(445, "SMB"),
  new Port(1433, "SQL Server"),
  new Port(1521, "Oracle"),
  new Port(2375, "Docker"),
  new Port(3306, "MySQL"),
  new Port(3389, "RDP"),
  new Port(5432, "PostgreSQL"),
  new Port(5985, "WinRM"),
  new Port(6379, "Redis"),
  new Port(9200, "Elasticsearch"),
  new Port(11211, "memcached"),
  new Port(27017, "MongoDB"),
];

export function networkRules(resource: Resource, out: Finding[]): void {
  if (resource.type == "aws_security_group" || resource.type == "aws_default_security_group") {
    const ingress = resource.node("ingress");
    const document = resource.document;
    for (let rule = document.first(ingress), end = document.end(ingress); document.isArray(ingress) && rule < end; rule = document.after(rule)) {
      openIngress(resource, rule, "ingress", "cidr_blocks", "ipv6_cidr_blocks", "protocol", resource.text("id"), out);
    }
  } else if (resource.type == "aws_security_group_rule") {
    if (resource.text("type") == "ingress") openIngress(resource, resource.values, "", "cidr_blocks", "ipv6_cidr_blocks", "protocol", resource.text("security_group_id"), out);
  } else if (resource.type == "aws_vpc_security_group_ingress_rule") {
    openIngress(resource, resource.values, "", "cidr_ipv4", "cidr_ipv6", "ip_protocol", resource.text("security_group_id"), out);
  } else if (resource.type == "aws_lb_listener" || resource.type == "aws_alb_listener") plainListener(resource, out);
  else if (resource.type == "aws_elb") classicListeners(resource, out);
  else if (resource.type == "aws_subnet") publicSubnet(resource, out);
}

/** The attribute's first range that is everyone; "" for none. */
function everyone(document: JsonDocument, ranges: i32): string {
  if (document.textIs(ranges, "0.0.0.0/0") || document.textIs(ranges, "::/0")) return document.text(ranges);
  if (!document.isArray(ranges)) return "";
  for (let range = document.first(ranges), end = document.end(ranges); range < end; range = document.after(range)) {
    if (document.textIs(range, "0.0.0.0/0") || document.textIs(range, "::/0")) return document.text(range);
  }
  return "";
}

function openIngress(resource: Resource, rule: i32, path: string, v4: string, v6: string, protocolName: string, groupId: string, out: Finding[]): void {
  const document = resource.document;
  let attribute = v4;
  let range = everyone(document, document.get(rule, v4));
  if (range == "") {
    attribute = v6;
    range = everyone(document, document.get(rule, v6));
  }
  if (range == "") return;
  const protocol = document.text(document.get(rule, protocolName));
  const all = protocol == "-1" || protocol == "all";
  if (!all && (document.get(rule, "from_port") == MISSING || document.get(rule, "to_port") == MISSING || protocol == "udp" || protocol.startsWith("icmp"))) return;
  const from = all ? 0 : <i32>document.integer(document.get(rule, "from_port"));
  const to = all ? 65535 : <i32>document.integer(document.get(rule, "to_port"));
  const services: string[] = [];
  for (let i = 0; i < ADMIN_PORTS.length; i++) {
    if (ADMIN_PORTS[i].number >= from && ADMIN_PORTS[i].number <= to) services.push(ADMIN_PORTS[i].service);
  }
  if (services.length == 0) return;
  const ports = from == to ? from.toString() : from.toString() + "-" + to.toString();
  const what = all ? "every port" : services.length == 1 ? services[0] + " (port " + ports + ")" : "ports " + ports + " (" + services.slice(0, 3).join(", ") + (services.length > 3 ? ", …" : "") + ")";
  const evidence = (path == "" ? "" : path + ".") + attribute + ' has "' + range + '", protocol ' + (all ? "all" : protocol) + ", ports " + ports;
  const finding = new Finding("security-group-open-admin", Category.SECURITY, resource, evidence, "Close " + what + " to the internet", 1, <f32>0.97);
  finding.because("Anyone on the internet can try " + what + ".").set(attribute, "the ranges that need it");
  if (groupId != "") {
    const permissions = "IpProtocol=" + (all ? "-1" : protocol + ",FromPort=" + from.toString() + ",ToPort=" + to.toString());
    const ranges = range == "::/0" ? ",Ipv6Ranges=[{CidrIpv6=::/0}]" : ",IpRanges=[{CidrIp=0.0.0.0/0}]";
    finding.run("aws ec2 revoke-security-group-ingress --group-id " + quote(groupId) + " --ip-permissions " + quote(permissions + ranges), "ec2:RevokeSecurityGroupIngress");
  }
  out.push(finding);
}

function plainListener(resource: Resource, out: Finding[]): void {
  if (resource.text("protocol") != "HTTP") return;
  const document = resource.document;
  const actions = resource.node("default_action");
  if (!document.isArray(actions) || document.size(actions) == 0) return;
  for (let action = document.first(actions), end = document.end(actions); action < end; action = document.after(action)) {
    if (document.textIs(document.get(action, "type"), "redirect")) return;
  }
  const arn = resource.text("arn");
  const redirect = "Type=redirect,RedirectConfig={Protocol=HTTPS,Port=443,StatusCode=HTTP_301}";
  out.push(
    new Finding("lb-listener-http", Category.SECURITY, resource, resource.evidence("protocol") + ", port = " + resource.raw("port"), "Redirect the HTTP listener to HTTPS", 2, <f32>0.85)
      .because("The listener forwards requests in the clear: whatever they carry can be read on the way.")
      .set("default_action.type", '"redirect"')
      .run(arn == "" ? "" : "aws elbv2 modify-listener --listener-arn " + quote(arn) + " --default-actions " + quote(redirect), "elasticloadbalancing:ModifyListener"),
  );
}

function classicListeners(resource: Resource, out: Finding[]): void {
  const document = resource.document;
  const listeners = resource.node("listener");
  for (let listener = document.first(listeners), end = document.end(listeners); document.isArray(listeners) && listener < end; listener = document.after(listener)) {
    const protocol = document.text(document.get(listener, "lb_protocol"));
    if (protocol.toLowerCase() != "http") continue;
    out.push(
      new Finding("lb-listener-http", Category.SECURITY, resource, 'listener.lb_protocol = "' + protocol + '", lb_port = ' + document.raw(document.get(listener, "lb_port")), "Give the load balancer an HTTPS listener", 2, <f32>0.85)
        .because("A classic load balancer cannot redirect: the listener takes requests in the clear. An application load balancer can.")
        .set("listener.lb_protocol", '"https"'),
    );
    return;
  }
}

function publicSubnet(resource: Resource, out: Finding[]): void {
  if (resource.known("map_public_ip_on_launch") != Known.SET || !resource.isTrue("map_public_ip_on_launch")) return;
  const id = resource.text("id");
  out.push(
    new Finding("subnet-public-by-default", Category.SECURITY, resource, resource.evidence("map_public_ip_on_launch"), "Give public addresses only where asked for", 4, <f32>0.6)
      .because("Every instance started in the subnet gets a public address unless its launch says otherwise.")
      .set("map_public_ip_on_launch", "false")
      .run(id == "" ? "" : "aws ec2 modify-subnet-attribute --subnet-id " + quote(id) + " --no-map-public-ip-on-launch", "ec2:ModifySubnetAttribute"),
  );
}
