import type { DescEnum } from "@bufbuild/protobuf";

/** An enum value's short name: "READY"; its number when this version does not know it. */
export function valueName(schema: DescEnum, value: number): string {
  return schema.value[value]?.localName ?? String(value);
}
