import { create, toBinary } from "@bufbuild/protobuf";
import { anyPack, durationFromMs } from "@bufbuild/protobuf/wkt";
import { Metadata } from "@grpc/grpc-js";
import type { ServiceError } from "@grpc/grpc-js";
import { describe, expect, it } from "vitest";
import { ClientError } from "../../../runtime/client/index.ts";
import { isSafeToRepeat, retryDelayMs } from "../../../runtime/client/retry.ts";
import { BadRequestSchema, ErrorInfoSchema, PreconditionFailureSchema, RetryInfoSchema } from "../../../runtime/contract/gen/google/rpc/error_details_pb.ts";
import { StatusSchema } from "../../../runtime/contract/gen/google/rpc/status_pb.ts";
import type { MessageInitShape } from "@bufbuild/protobuf";

function serviceError(code: number, details: string, bytes: Uint8Array | null): ServiceError {
  const metadata = new Metadata();
  if (bytes !== null) metadata.set("grpc-status-details-bin", Buffer.from(bytes));
  return Object.assign(new Error(`${code}: ${details}`), { code: code as never, details, metadata });
}

const rich = (details: MessageInitShape<typeof StatusSchema>["details"] & object) => toBinary(StatusSchema, create(StatusSchema, { details }));
const info = (domain: string) => anyPack(ErrorInfoSchema, create(ErrorInfoSchema, { reason: "MAILBOX_FULL", domain, metadata: { depth: "1000" } }));

describe("a failed call's error", () => {
  it("has everything the host said", () => {
    const error = ClientError.from(
      serviceError(
        8,
        "the mailbox is full",
        rich([
          info("sirsi"),
          anyPack(RetryInfoSchema, create(RetryInfoSchema, { retryDelay: durationFromMs(250) })),
          anyPack(BadRequestSchema, create(BadRequestSchema, { fieldViolations: [{ field: "agent_id", description: "bad" }] })),
          anyPack(PreconditionFailureSchema, create(PreconditionFailureSchema, { violations: [{ type: "STATE", subject: "agent", description: "ready" }] })),
        ]),
      ),
    );
    expect(error).toMatchObject({
      rpcCode: 8,
      rpcName: "RESOURCE_EXHAUSTED",
      reason: "MAILBOX_FULL",
      message: "the mailbox is full",
      metadata: { depth: "1000" },
      retryAfterMs: 250,
      fieldViolations: [{ field: "agent_id", description: "bad" }],
      preconditions: [{ type: "STATE", subject: "agent", description: "ready" }],
    });
  });

  it("has no reason when a proxy or another service made it", () => {
    expect(ClientError.from(serviceError(8, "quota", rich([info("example.com")]))).reason).toBe("");
    expect(ClientError.from(serviceError(14, "no connection", null))).toMatchObject({ reason: "", retryAfterMs: null, rpcName: "UNAVAILABLE" });
  });

  it.each([
    ["a status that is none", new Uint8Array([0x1a, 0xff, 0xff])],
    ["a detail that is none", rich([{ typeUrl: "type.googleapis.com/google.rpc.ErrorInfo", value: new Uint8Array([0x0a, 0xff]) }])],
    ["details of unknown types", rich([{ typeUrl: "type.googleapis.com/acme.Thing", value: new Uint8Array([1]) }])],
  ])("keeps code and message over %s", (_name, bytes) => {
    expect(ClientError.from(serviceError(5, "gone", bytes))).toMatchObject({ rpcCode: 5, message: "gone", reason: "" });
  });

  it("passes itself through and makes UNKNOWN of anything else", () => {
    const error = new ClientError(5, "gone");
    expect(ClientError.from(error)).toBe(error);
    expect(ClientError.from("odd")).toMatchObject({ rpcName: "UNKNOWN", message: "odd" });
    expect(new ClientError(99, "odd").rpcName).toBe("99");
  });
});

describe("calls that are sent again by themselves", () => {
  it.each([
    ["getAgent", {}, true],
    ["listModules", {}, true],
    ["sendMessage", { message: { messageId: "m-1" } }, true],
    ["sendMessage", { message: { content: "no id" } }, false],
    ["sendMessage", {}, false],
    ["createSession", {}, false],
    ["installModule", {}, false],
    ["getSuggestions", {}, false],
  ])("%s of %j: %s", (method, request, safe) => {
    expect(isSafeToRepeat(method, request)).toBe(safe);
  });

  it("wait as long as the host says, back off when it is away, and give up on anything else", () => {
    expect(retryDelayMs(new ClientError(14, "away", { retryAfterMs: 70 }), 0, 0)).toBe(70);
    expect(retryDelayMs(new ClientError(14, "away"), 0, 0)).toBe(50);
    expect(retryDelayMs(new ClientError(14, "away"), 9, 1)).toBe(2_000);
    expect(retryDelayMs(new ClientError(8, "full", { retryAfterMs: 5 }), 0, 0)).toBe(5);
    expect(retryDelayMs(new ClientError(8, "too large"), 0, 0)).toBeNull();
    expect(retryDelayMs(new ClientError(4, "late", { retryAfterMs: 5 }), 0, 0)).toBeNull();
  });
});
