/** A client made from tests/fixtures/contract alone, as one written years ago in another language is. */
import { type ServiceClientConstructor, credentials, loadPackageDefinition } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { fileURLToPath } from "node:url";

export const CONTRACT_FILE = fileURLToPath(new URL("../fixtures/contract/agent_service.proto", import.meta.url));

/** Field names as the contract writes them, enums by name, 64-bit numbers as text, absent fields as their defaults. */
export function loadContract(): ReturnType<typeof loadSync> {
  return loadSync(CONTRACT_FILE, { keepCase: true, longs: String, enums: String, defaults: true, oneofs: true });
}

/** What a client without generated types sees. */
// oxlint-disable-next-line typescript/no-explicit-any
export type Json = { readonly [name: string]: any };

export interface ContractClient extends Disposable {
  /** One unary call; rejects with the ServiceError. */
  call(method: string, request: Json, deadlineMs?: number): Promise<Json>;
}

type Unary = (request: Json, options: { readonly deadline: number }, done: (error: Error | null, response: Json) => void) => void;

export function contractClient(address: string): ContractClient {
  const loaded = loadPackageDefinition(loadContract()) as unknown as { sirsi: { agent: { v1: { AgentService: ServiceClientConstructor } } } };
  const client = new loaded.sirsi.agent.v1.AgentService(address, credentials.createInsecure());
  return {
    call: (method, request, deadlineMs = 20_000) =>
      new Promise((resolve, reject) => {
        const unary = (client[method] as unknown as Unary).bind(client);
        unary(request, { deadline: Date.now() + deadlineMs }, (error, response) => {
          if (error === null) resolve(response);
          else reject(error);
        });
      }),
    [Symbol.dispose]: () => client.close(),
  };
}
