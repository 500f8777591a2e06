/** What a failed call tells its caller, read out of grpc-status-details-bin. */
import { fromBinary } from "@bufbuild/protobuf";
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { status } from "@grpc/grpc-js";
import type { ServiceError } from "@grpc/grpc-js";
import { BadRequestSchema, ErrorInfoSchema, PreconditionFailureSchema, RetryInfoSchema } from "../contract/gen/google/rpc/error_details_pb.ts";
import { StatusSchema } from "../contract/gen/google/rpc/status_pb.ts";
import type { Status } from "../contract/gen/google/rpc/status_pb.ts";

export interface FieldViolation {
  readonly field: string;
  readonly description: string;
}

export interface Precondition {
  readonly type: string;
  readonly subject: string;
  readonly description: string;
}

export interface ClientErrorDetails {
  readonly reason?: string;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly fieldViolations?: readonly FieldViolation[];
  readonly preconditions?: readonly Precondition[];
  readonly retryAfterMs?: number | null;
  readonly cause?: unknown;
}

export class ClientError extends Error {
  override readonly name = "ClientError";
  /** A google.rpc.Code: 5 for NOT_FOUND and so on. */
  readonly rpcCode: number;
  /** A reason from docs/errors.md; empty when the failure did not come from a sirsi host. */
  readonly reason: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly fieldViolations: readonly FieldViolation[];
  readonly preconditions: readonly Precondition[];
  /** When the host says the same call may succeed; null when it says nothing. */
  readonly retryAfterMs: number | null;

  constructor(rpcCode: number, message: string, details: ClientErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.rpcCode = rpcCode;
    this.reason = details.reason ?? "";
    this.metadata = details.metadata ?? {};
    this.fieldViolations = details.fieldViolations ?? [];
    this.preconditions = details.preconditions ?? [];
    this.retryAfterMs = details.retryAfterMs ?? null;
  }

  /** The code's name: "NOT_FOUND". */
  get rpcName(): string {
    return status[this.rpcCode] ?? String(this.rpcCode);
  }

  /** Any thrown value as a ClientError; one of grpc-js's keeps its code and details. */
  static from(thrown: unknown): ClientError {
    if (thrown instanceof ClientError) return thrown;
    if (isServiceError(thrown)) return fromServiceError(thrown);
    return new ClientError(status.UNKNOWN, thrown instanceof Error ? thrown.message : String(thrown), { cause: thrown });
  }
}

function isServiceError(thrown: unknown): thrown is ServiceError {
  return thrown instanceof Error && "code" in thrown && typeof thrown.code === "number" && "details" in thrown && "metadata" in thrown;
}

const ERROR_DOMAIN = "sirsi";

function fromServiceError(error: ServiceError): ClientError {
  const rich = richStatus(error);
  const info = detail(rich, ErrorInfoSchema);
  const retry = detail(rich, RetryInfoSchema)?.retryDelay;
  return new ClientError(error.code, error.details === "" ? error.message : error.details, {
    reason: info?.domain === ERROR_DOMAIN ? info.reason : "",
    metadata: info?.metadata ?? {},
    fieldViolations: (detail(rich, BadRequestSchema)?.fieldViolations ?? []).map(({ field, description }) => ({ field, description })),
    preconditions: (detail(rich, PreconditionFailureSchema)?.violations ?? []).map(({ type, subject, description }) => ({ type, subject, description })),
    retryAfterMs: retry === undefined ? null : durationMs(retry),
    cause: error,
  });
}

/** Details that cannot be read are left out: the code and the message still tell. */
function richStatus(error: ServiceError): Status | null {
  const [bytes] = error.metadata.get("grpc-status-details-bin");
  if (!(bytes instanceof Uint8Array)) return null;
  return readOrNull(StatusSchema, bytes);
}

function detail<Schema extends DescMessage>(rich: Status | null, schema: Schema): MessageShape<Schema> | null {
  const found = rich?.details.find((any) => any.typeUrl.endsWith(`/${schema.typeName}`));
  return found === undefined ? null : readOrNull(schema, found.value);
}

function readOrNull<Schema extends DescMessage>(schema: Schema, bytes: Uint8Array): MessageShape<Schema> | null {
  try {
    return fromBinary(schema, bytes);
  } catch {
    return null;
  }
}
