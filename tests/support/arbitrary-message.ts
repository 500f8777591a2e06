/** fast-check values of any protobuf message, from its descriptor. */
import { ScalarType, create } from "@bufbuild/protobuf";
import type { DescField, DescMessage, Message, MessageInitShape } from "@bufbuild/protobuf";
import * as fc from "fast-check";
import { SirsiError } from "../../runtime/core/errors.ts";

/** Well-formed UTF-16, from empty to astral: what proto3 strings may hold. */
const text = fc.oneof(fc.string({ unit: "binary", maxLength: 12 }), fc.string({ maxLength: 200 }), fc.constant(""));
const bytes = fc.uint8Array({ maxLength: 200 });
const int32 = fc.oneof(fc.integer(), fc.constantFrom(0, -1, 2 ** 31 - 1, -(2 ** 31)));
const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });

function scalar(type: ScalarType): fc.Arbitrary<unknown> {
  switch (type) {
    case ScalarType.STRING:
      return text;
    case ScalarType.BYTES:
      return bytes;
    case ScalarType.BOOL:
      return fc.boolean();
    case ScalarType.INT32:
      return int32;
    case ScalarType.INT64:
      return int64;
    case ScalarType.FLOAT:
      return fc.float();
    case ScalarType.DOUBLE:
      return fc.double();
    default:
      throw new SirsiError("UNIMPLEMENTED", `no values for scalar type ${type} yet`);
  }
}

function element(field: DescField): fc.Arbitrary<unknown> {
  if (field.message !== undefined) return init(field.message);
  if (field.enum !== undefined) return int32;
  return scalar(field.scalar);
}

function mapValue(field: DescField & { fieldKind: "map" }): fc.Arbitrary<unknown> {
  if (field.mapKind === "scalar") return scalar(field.scalar);
  throw new SirsiError("UNIMPLEMENTED", `no values for the map ${field.name} yet`);
}

function value(field: DescField): fc.Arbitrary<unknown> {
  if (field.fieldKind === "list") return fc.array(element(field), { maxLength: 3 });
  if (field.fieldKind === "map") return fc.dictionary(text.filter((key) => key !== "__proto__"), mapValue(field), { maxKeys: 3, noNullPrototype: true });
  return element(field);
}

function init(desc: DescMessage): fc.Arbitrary<object> {
  const plain = desc.fields.filter((field) => field.oneof === undefined);
  const record: Record<string, fc.Arbitrary<unknown>> = {};
  for (const field of plain) record[field.localName] = value(field);
  for (const oneof of desc.oneofs) {
    const members = oneof.fields.map((field) => value(field).map((held) => ({ case: field.localName, value: held })));
    record[oneof.localName] = fc.oneof(fc.constant({ case: undefined }), ...members);
  }
  return fc.record(record, { requiredKeys: [] });
}

export function arbitraryMessage(desc: DescMessage): fc.Arbitrary<Message> {
  return init(desc).map((shape) => create(desc, shape as MessageInitShape<DescMessage>));
}
