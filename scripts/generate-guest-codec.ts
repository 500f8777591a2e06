/**
 * Writes the AssemblyScript codec of the guest messages, agents-as/sdk/assembly/gen, from
 * the descriptors in runtime/contract/gen. `--check` writes nothing and exits with 1 when
 * what is there differs.
 *
 * The shape of what it writes: one class a message with plain fields, a lazily made map or
 * list, nullable messages; for a oneof, nullable members and the number of the one that is
 * set; and four functions a message: readX, writeX, decodeX, encodeX.
 */
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { argv, exit, stdout } from "node:process";
import { ScalarType } from "@bufbuild/protobuf";
import type { DescEnum, DescField, DescMessage, DescOneof } from "@bufbuild/protobuf";
import {
  GuestCallSchema,
  GuestEmitSchema,
  GuestRequestSchema,
  GuestResponseSchema,
  GuestResultSchema,
} from "../runtime/contract/gen/sirsi/agent/v1/guest_pb.ts";
import { SirsiError } from "../runtime/core/errors.ts";

const OUT_DIR = new URL("../agents-as/sdk/assembly/gen/", import.meta.url).pathname;
const ROOTS = [GuestCallSchema, GuestResultSchema, GuestRequestSchema, GuestResponseSchema, GuestEmitSchema];

/** Messages whose class the SDK writes by hand on top of the generated `…Base`: class name and file. */
const EXTENDED: Readonly<Record<string, { readonly name: string; readonly file: string }>> = {
  "sirsi.agent.v1.Message": { name: "Message", file: "../message" },
  "sirsi.agent.v1.Attachment": { name: "Attachment", file: "../attachment" },
  "sirsi.agent.v1.Suggestion": { name: "Suggestion", file: "../suggestion" },
  "sirsi.agent.v1.GuestError": { name: "AgentError", file: "../agent-error" },
};

const FILES: Readonly<Record<string, string>> = {
  "sirsi/agent/v1/agent_service": "agent-service",
  "sirsi/agent/v1/events": "events",
  "sirsi/agent/v1/guest": "guest",
  "google/protobuf/any": "well-known",
  "google/protobuf/timestamp": "well-known",
};

interface Scalar {
  readonly type: string;
  readonly zero: string;
  readonly wire: number;
  readonly read: (end: string) => string;
  readonly write: (tag: number, value: string) => string;
  readonly isSet: (value: string) => string;
}

const varint = (type: string, cast: (raw: string) => string, back: (value: string) => string): Scalar => ({
  type,
  zero: type === "bool" ? "false" : "0",
  wire: 0,
  read: (end) => cast(`readVarint(${end})`),
  write: (tag, value) => `writeVarint(${tag}, ${back(value)})`,
  isSet: (value) => (type === "bool" ? value : `${value} != 0`),
});
const run = (type: string, name: string, zero: string): Scalar => ({
  type,
  zero,
  wire: 2,
  read: (end) => `read${name}(${end})`,
  write: (tag, value) => `write${name}(${tag}, ${value})`,
  isSet: (value) => `${value}.length != 0`,
});
const real = (type: string, name: string, wire: number, bits: string): Scalar => ({
  type,
  zero: "0",
  wire,
  read: (end) => `read${name}(${end})`,
  write: (tag, value) => `write${name}(${tag}, ${value})`,
  isSet: (value) => `reinterpret<${bits}>(${value}) != 0`,
});

const INT32 = varint("i32", (raw) => `<i32>${raw}`, (value) => `<u64>(<i64>${value})`);
const SCALARS: Partial<Record<ScalarType, Scalar>> = {
  [ScalarType.STRING]: run("string", "String", '""'),
  [ScalarType.BYTES]: run("Uint8Array", "Bytes", "NO_BYTES"),
  [ScalarType.INT32]: INT32,
  [ScalarType.INT64]: varint("i64", (raw) => `<i64>${raw}`, (value) => `<u64>${value}`),
  [ScalarType.BOOL]: varint("bool", (raw) => `${raw} != 0`, () => "1"),
  [ScalarType.FLOAT]: real("f32", "Float", 5, "u32"),
  [ScalarType.DOUBLE]: real("f64", "Double", 1, "u64"),
};

function unsupported(field: DescField): never {
  throw new SirsiError("UNIMPLEMENTED", `${field.parent.typeName}.${field.name} has a shape that scripts/generate-guest-codec.ts does not write yet; teach it that shape`);
}

function scalarOf(field: DescField): Scalar {
  if (field.fieldKind === "enum") return INT32;
  const type = field.fieldKind === "scalar" || field.fieldKind === "list" ? field.scalar : undefined;
  return (type === undefined ? undefined : SCALARS[type]) ?? unsupported(field);
}

/** The class that the rest of the SDK uses, and the one this generator writes. */
const className = (message: DescMessage) => EXTENDED[message.typeName]?.name ?? message.name;
const baseName = (message: DescMessage) => (message.typeName in EXTENDED ? `${message.name}Base` : message.name);
const capital = (name: string) => name.charAt(0).toUpperCase() + name.slice(1);
const constant = (name: string) => name.replace(/([a-z])([A-Z])/g, "$1_$2").toUpperCase();

function fileOf(message: DescMessage | DescEnum): string {
  const file = FILES[message.file.name];
  if (file !== undefined) return file;
  throw new SirsiError("UNIMPLEMENTED", `${message.typeName} is in ${message.file.name}.proto, which scripts/generate-guest-codec.ts does not know; add it to FILES`);
}

/** Every message the roots reach, in a stable order. A cycle is refused: reading recurses without a bound of its own. */
function reachable(): DescMessage[] {
  const found = new Set<DescMessage>();
  const visit = (message: DescMessage, path: readonly DescMessage[]) => {
    if (path.includes(message)) throw new SirsiError("UNIMPLEMENTED", `${message.typeName} contains itself; reading it would need a bound on depth`);
    for (const field of message.fields) if (field.message !== undefined && field.fieldKind !== "map") visit(field.message, [...path, message]);
    found.add(message);
  };
  for (const root of ROOTS) visit(root, []);
  return [...found];
}

// --- one message ---

interface Member {
  readonly declare: readonly string[];
  readonly read: readonly string[];
  readonly write: readonly string[];
  readonly tag: number;
}

function lazyMember(field: DescField, type: string): readonly string[] {
  const name = field.localName;
  return [
    `  ${name}OrNull: ${type} | null = null;`,
    `  get ${name}(): ${type} {`,
    `    let value = this.${name}OrNull;`,
    `    if (value === null) this.${name}OrNull = value = new ${type}();`,
    "    return value;",
    "  }",
    `  set ${name}(value: ${type}) {`,
    `    this.${name}OrNull = value;`,
    "  }",
  ];
}

function mapMember(field: DescField & { fieldKind: "map" }): Member {
  if (field.mapKey !== ScalarType.STRING || field.mapKind !== "scalar") unsupported(field);
  const kind = field.scalar === ScalarType.STRING ? "String" : field.scalar === ScalarType.DOUBLE ? "Double" : unsupported(field);
  const name = field.localName;
  const tag = (field.number << 3) | 2;
  return {
    tag,
    declare: lazyMember(field, `Map<string, ${kind === "String" ? "string" : "f64"}>`),
    read: [`read${kind}Entry(m.${name}, readEnd(end));`],
    write: [`const ${name} = m.${name}OrNull;`, `if (${name} !== null) write${kind}Map(${tag}, ${name});`],
  };
}

function listMember(field: DescField & { fieldKind: "list" }): Member {
  const name = field.localName;
  const tag = (field.number << 3) | 2;
  const loop = (body: readonly string[]) => [
    `const ${name} = m.${name}OrNull;`,
    `if (${name} !== null) {`,
    `  for (let i = 0, n = ${name}.length; i < n; i++) {`,
    ...body.map((line) => `    ${line}`),
    "  }",
    "}",
  ];
  if (field.listKind === "message") {
    const type = className(field.message);
    return {
      tag,
      declare: lazyMember(field, `Array<${type}>`),
      read: [`const item = new ${type}();`, `m.${name}.push(item);`, `read${type}(item, readEnd(end));`],
      write: loop([`const mark = open(${tag});`, `write${type}(unchecked(${name}[i]));`, "close(mark);"]),
    };
  }
  const scalar = scalarOf(field);
  if (scalar.wire !== 2) unsupported(field);
  return {
    tag,
    declare: lazyMember(field, `Array<${scalar.type}>`),
    read: [`m.${name}.push(${scalar.read("end")});`],
    write: loop([`${scalar.write(tag, `unchecked(${name}[i])`)};`]),
  };
}

function messageMember(field: DescField & { fieldKind: "message" }): Member {
  const name = field.localName;
  const type = className(field.message);
  const tag = (field.number << 3) | 2;
  return {
    tag,
    declare: [`  ${name}: ${type} | null = null;`],
    read: [`let inner = m.${name};`, `if (inner === null) m.${name} = inner = new ${type}();`, `read${type}(inner, readEnd(end));`],
    write: [`const ${name} = m.${name};`, `if (${name} !== null) {`, `  const mark = open(${tag});`, `  write${type}(${name});`, "  close(mark);", "}"],
  };
}

function scalarMember(field: DescField): Member {
  const name = field.localName;
  const scalar = scalarOf(field);
  const tag = (field.number << 3) | scalar.wire;
  return {
    tag,
    declare: [`  ${name}: ${scalar.type} = ${scalar.zero};`],
    read: [`m.${name} = ${scalar.read("end")};`],
    write: [`if (${scalar.isSet(`m.${name}`)}) ${scalar.write(tag, `m.${name}`)};`],
  };
}

/** A member of a oneof: setting it clears the others; null clears it. */
function oneofMember(field: DescField, oneof: DescOneof): Member {
  const name = field.localName;
  const which = `${oneof.localName}Case`;
  const plain = field.fieldKind === "message" ? messageMember(field) : scalarMember(field);
  const type = field.fieldKind === "message" ? className(field.message) : scalarOf(field).type;
  if (field.fieldKind !== "message" && scalarOf(field).wire !== 2) unsupported(field);
  const write = field.fieldKind === "message" ? plain.write : [`const ${name} = m.${name};`, `if (${name} !== null) ${scalarOf(field).write(plain.tag, name)};`];
  return {
    tag: plain.tag,
    declare: [
      `  ${name}OrNull: ${type} | null = null;`,
      `  get ${name}(): ${type} | null {`,
      `    return this.${name}OrNull;`,
      "  }",
      `  set ${name}(value: ${type} | null) {`,
      `    this.clear${capital(oneof.localName)}();`,
      `    this.${name}OrNull = value;`,
      `    if (value !== null) this.${which} = ${field.number};`,
      "  }",
    ],
    read: plain.read,
    write,
  };
}

function memberOf(field: DescField): Member {
  if (field.fieldKind === "map") return mapMember(field);
  if (field.fieldKind === "list") return listMember(field);
  if (field.oneof !== undefined) return oneofMember(field, field.oneof);
  return field.fieldKind === "message" ? messageMember(field) : scalarMember(field);
}

function oneofHead(message: DescMessage, oneof: DescOneof): readonly string[] {
  return [
    `  /** The number of the member of \`${oneof.name}\` that is set; 0 for none. */`,
    `  ${oneof.localName}Case: i32 = 0;`,
    `  clear${capital(oneof.localName)}(): void {`,
    `    this.${oneof.localName}Case = 0;`,
    ...message.fields.filter((field) => field.oneof === oneof).map((field) => `    this.${field.localName}OrNull = null;`),
    "  }",
  ];
}

function oneofConstants(message: DescMessage, oneof: DescOneof): readonly string[] {
  const name = `${capital(message.name)}${capital(oneof.localName)}Case`;
  const members = message.fields.filter((field) => field.oneof === oneof);
  return [`/** Values of \`${className(message)}.${oneof.localName}Case\`. */`, `export namespace ${name} {`, "  export const NONE: i32 = 0;", ...members.map((field) => `  export const ${constant(field.localName)}: i32 = ${field.number};`), "}", ""];
}

function writeClass(message: DescMessage): readonly string[] {
  const name = className(message);
  const members = message.fields.map(memberOf);
  const oneofs = message.oneofs.filter((oneof) => oneof.fields.length > 0);
  const cases = members.flatMap((member) => [`      case ${member.tag}: {`, ...member.read.map((line) => `        ${line}`), "        break;", "      }"]);
  const loop = members.length === 0 ? ["    skip(readTag(end), end);"] : ["    const tag = readTag(end);", "    switch (tag) {", ...cases, "      default:", "        skip(tag, end);", "    }"];
  return [
    ...oneofs.flatMap((oneof) => oneofConstants(message, oneof)),
    `export class ${baseName(message)} {`,
    ...oneofs.flatMap((oneof) => oneofHead(message, oneof)),
    ...members.flatMap((member) => member.declare),
    "}",
    "",
    `export function read${name}(m: ${name}, end: usize): void {`,
    "  while (more(end)) {",
    ...loop,
    "  }",
    "}",
    "",
    `export function write${name}(m: ${name}): void {`,
    ...members.flatMap((member) => member.write.map((line) => `  ${line}`)),
    "}",
    "",
    `export function decode${name}(bytes: Uint8Array): ${name} | null {`,
    `  const message = new ${name}();`,
    "  startReading(bytes.dataStart);",
    `  read${name}(message, bytes.dataStart + <usize>bytes.length);`,
    "  return finishReading().length == 0 ? message : null;",
    "}",
    "",
    `export function encode${name}(message: ${name}): Uint8Array {`,
    "  startWriting();",
    `  write${name}(message);`,
    "  return takeWritten();",
    "}",
    "",
  ];
}

function writeEnum(desc: DescEnum): readonly string[] {
  const prefix = `${constant(desc.name)}_`;
  return [`export namespace ${desc.name} {`, ...desc.values.map((value) => `  export const ${value.name.replace(prefix, "")}: i32 = ${value.number};`), "}", ""];
}

// --- one file ---

function importLines(file: string, messages: readonly DescMessage[], body: string): readonly string[] {
  const wireNames = [...new Set(body.match(/\b(?:read|write)(?:Varint|Tag|End|String|Bytes|Float|Double|StringEntry|DoubleEntry|StringMap|DoubleMap)\b|\b(?:more|skip|open|close|NO_BYTES|startReading|finishReading|startWriting|takeWritten)\b/g))];
  const sources = new Map<string, Set<string>>([["../wire", new Set(wireNames)]]);
  const need = (source: string, name: string) => {
    const names = sources.get(source) ?? new Set<string>();
    names.add(name);
    sources.set(source, names);
  };
  for (const message of messages) {
    const extended = EXTENDED[message.typeName];
    if (extended !== undefined) need(extended.file, extended.name);
    for (const field of message.fields) {
      if (field.message === undefined || field.fieldKind === "map") continue;
      const name = className(field.message);
      const home = EXTENDED[field.message.typeName];
      const from = `./${fileOf(field.message)}`;
      if (home !== undefined) need(home.file, name);
      else if (from !== `./${file}`) need(from, name);
      if (from !== `./${file}`) for (const verb of ["read", "write"]) need(from, `${verb}${name}`);
    }
  }
  return [...sources].toSorted(([a], [b]) => a.localeCompare(b)).map(([source, names]) => `import { ${[...names].toSorted().join(", ")} } from "${source}";`);
}

function generate(): Map<string, string> {
  const messages = reachable();
  const enums = [...new Set(messages.flatMap((message) => message.fields.flatMap((field) => (field.enum === undefined ? [] : [field.enum]))))];
  const files = new Map<string, string>();
  for (const file of new Set(messages.map(fileOf))) {
    const mine = messages.filter((message) => fileOf(message) === file);
    const body = [...enums.filter((desc) => fileOf(desc) === file).flatMap(writeEnum), ...mine.flatMap(writeClass)].join("\n");
    const head = ["// Written by scripts/generate-guest-codec.ts from the descriptors of proto/. Do not edit.", "", ...importLines(file, mine, body), ""];
    files.set(`${file}.ts`, `${head.join("\n")}\n${body.trimEnd()}\n`);
  }
  return files;
}

function onDisk(): Map<string, string> {
  mkdirSync(OUT_DIR, { recursive: true });
  return new Map(readdirSync(OUT_DIR).map((name) => [name, readFileSync(join(OUT_DIR, name), "utf8")]));
}

const wanted = generate();
const present = onDisk();
const different = [...new Set([...wanted.keys(), ...present.keys()])].filter((name) => wanted.get(name) !== present.get(name));
if (argv.includes("--check")) {
  if (different.length > 0) stdout.write(`agents-as/sdk/assembly/gen is not what the descriptors say: ${different.join(", ")}. Run \`node scripts/generate-guest-codec.ts\` and commit the result.\n`);
  exit(different.length > 0 ? 1 : 0);
}
for (const name of different) {
  const text = wanted.get(name);
  if (text === undefined) rmSync(join(OUT_DIR, name));
  else writeFileSync(join(OUT_DIR, name), text);
}
