/** Contract messages as protobuf JSON, also those that carry payloads of unknown types. */
import { create, createRegistry, isMessage, toJson } from "@bufbuild/protobuf";
import type { DescMessage, JsonValue, MessageShape } from "@bufbuild/protobuf";
import { AnySchema, DurationSchema, EmptySchema, StructSchema, TimestampSchema, anyPack, file_google_protobuf_struct, file_google_protobuf_wrappers } from "@bufbuild/protobuf/wkt";
import type { Any } from "@bufbuild/protobuf/wkt";
import { file_sirsi_agent_v1_agent_service, file_sirsi_agent_v1_events, file_sirsi_hypervisor_v1_hypervisor_service } from "../client/index.ts";

const registry = createRegistry(
  file_sirsi_agent_v1_agent_service,
  file_sirsi_agent_v1_events,
  file_sirsi_hypervisor_v1_hypervisor_service,
  file_google_protobuf_struct,
  file_google_protobuf_wrappers,
  AnySchema,
  DurationSchema,
  EmptySchema,
  TimestampSchema,
);

export function messageJson<Schema extends DescMessage>(schema: Schema, message: MessageShape<Schema>): JsonValue {
  return toJson(schema, readable(message), { registry });
}

/**
 * The JSON form of an Any needs its type. A guest may send one that is not known here;
 * it then becomes a Struct of its type's name and its bytes in base64, so nothing is lost.
 */
function readable<T>(value: T): T {
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
  if (Array.isArray(value)) return value.map((item: unknown) => readable(item)) as T;
  if (isMessage(value, AnySchema)) return (isReadable(value) ? value : opaque(value)) as T;
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, readable(part as unknown)])) as T;
}

function isReadable(any: Any): boolean {
  try {
    toJson(AnySchema, any, { registry });
    return true;
  } catch {
    return false;
  }
}

function opaque(any: Any): Any {
  return anyPack(
    StructSchema,
    create(StructSchema, {
      fields: {
        typeUrl: { kind: { case: "stringValue", value: any.typeUrl } },
        base64: { kind: { case: "stringValue", value: Buffer.from(any.value).toString("base64") } },
      },
    }),
  );
}
