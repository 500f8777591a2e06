/**
 * A TCP proxy that misbehaves when told to: it cuts what goes through it, or lets it hang
 * as a machine does that vanished, in both directions or in one.
 */
import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";

export type Passage = "both" | "to-server" | "nothing";

export class FaultProxy {
  readonly #server: Server;
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  #passage: Passage = "both";
  #watch: ((bytes: Buffer) => void) | null = null;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async before(port: number): Promise<FaultProxy> {
    const server = createServer();
    const proxy = new FaultProxy(server);
    server.on("connection", (client) => proxy.#join(client, connect(port, "127.0.0.1")));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  #join(client: Socket, server: Socket): void {
    const pair = [client, server] as const;
    this.#pairs.add(pair);
    const end = (): void => {
      this.#pairs.delete(pair);
      client.destroy();
      server.destroy();
    };
    for (const socket of pair) socket.on("error", end).on("close", end);
    client.on("data", (bytes: Buffer) => {
      this.#watch?.(bytes);
      if (this.#passage !== "nothing") server.write(bytes);
    });
    server.on("data", (bytes: Buffer) => {
      if (this.#passage === "both") client.write(bytes);
    });
  }

  /** Bytes that may not pass are lost for good, and nobody is told. */
  let(passage: Passage): void {
    this.#passage = passage;
  }

  /** Called with what clients send, before it goes on. */
  watch(watch: ((bytes: Buffer) => void) | null): void {
    this.#watch = watch;
  }

  /** Ends every connection; new ones are taken. */
  cut(): void {
    for (const [client] of this.#pairs) client.destroy();
  }

  async close(): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, "close");
  }
}
