import { create } from "@bufbuild/protobuf";
import type { ServiceDefinition } from "@grpc/grpc-js";
import { describe, expect, it } from "vitest";
import { AgentService, CreateSessionRequestSchema } from "../../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { HypervisorService } from "../../../runtime/contract/gen/sirsi/hypervisor/v1/hypervisor_service_pb.ts";
import { MalformedRequest, grpcDefinition, requireWellFormed } from "../../../runtime/contract/grpc-definition.ts";

describe("the grpc-js definition of a service", () => {
  const agents = grpcDefinition(AgentService);

  it("names every RPC by its path and its camelCase name", () => {
    const asGrpcJs: ServiceDefinition = agents;
    expect(Object.keys(asGrpcJs)).toEqual(AgentService.methods.map((method) => method.localName));
    expect(agents.createSession.path).toBe("/sirsi.agent.v1.AgentService/CreateSession");
    expect(agents.createSession.originalName).toBe("createSession");
    expect(grpcDefinition(HypervisorService).installModule.path).toBe("/sirsi.hypervisor.v1.HypervisorService/InstallModule");
  });

  it("tells unary, server-streaming and bidirectional RPCs apart", () => {
    const shape = (name: "sendMessage" | "streamEvents" | "converse") => [agents[name].requestStream, agents[name].responseStream];
    expect(shape("sendMessage")).toEqual([false, false]);
    expect(shape("streamEvents")).toEqual([false, true]);
    expect(shape("converse")).toEqual([true, true]);
  });

  it("carries a message through bytes unchanged", () => {
    const request = create(CreateSessionRequestSchema, { userId: "ada", context: { team: "infra" } });
    const bytes = agents.createSession.requestSerialize(request);
    expect(Buffer.isBuffer(bytes)).toBe(true);
    expect(requireWellFormed(agents.createSession.requestDeserialize(bytes))).toEqual(request);
  });

  it("turns malformed request bytes into INVALID_ARGUMENT instead of a throw inside grpc-js", () => {
    const parsed = agents.createSession.requestDeserialize(Buffer.from([0x0a, 0xff, 0xff]));
    expect(parsed).toBeInstanceOf(MalformedRequest);
    expect(() => requireWellFormed(parsed)).toThrowError(
      expect.objectContaining({ code: "INVALID_ARGUMENT", message: expect.stringContaining("sirsi.agent.v1.CreateSessionRequest") }),
    );
  });

  it("lets a response that cannot be read throw", () => {
    expect(() => agents.createSession.responseDeserialize(Buffer.from([0x0a, 0xff, 0xff]))).toThrow();
  });
});
