/**
 * A TCP proxy on the loopback that does to connections what networks do.
 *
 * `cut` ends every connection and takes no new one until `heal`; `reset` ends them and
 * takes new ones at once. `delay` holds back each piece of data for a while, in order.
 * `freeze` is the half-open link: sockets stay open, new ones are taken, and nothing
 * passes until `heal`, in both directions or in one, so that what is written piles up in
 * buffers as it would before a dead router. `watch` sees what clients send before it goes
 * on, and may do any of these at that moment.
 */
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { once } from "node:events";

export type Direction = "to-server" | "to-client";

/** One direction of one connection. */
interface Pipe {
  readonly direction: Direction;
  readonly from: Socket;
  readonly to: Socket;
  /** What was read and may not go on. */
  held: Buffer[];
}

export class FaultProxy implements AsyncDisposable {
  readonly #server = createServer({ pauseOnConnect: true }, (client) => this.#accept(client));
  readonly #targetPort: number;
  readonly #clients = new Set<Socket>();
  readonly #frozen = new Set<Direction>();
  #pipes: Pipe[] = [];
  #refuses = false;
  #delayMs = 0;
  #taken = 0;
  #watch: ((bytes: Buffer) => void) | null = null;

  private constructor(targetPort: number) {
    this.#targetPort = targetPort;
  }

  /** Before a server that listens on this port of the loopback. */
  static async before(targetPort: number): Promise<FaultProxy> {
    const proxy = new FaultProxy(targetPort);
    proxy.#server.listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Connections taken so far, those included that were ended at once. */
  get taken(): number {
    return this.#taken;
  }

  /** Connections that are open on the client's side. */
  get open(): number {
    return this.#clients.size;
  }

  cut(): void {
    this.#refuses = true;
    this.reset();
  }

  reset(): void {
    for (const { from } of this.#pipes) from.destroy();
  }

  delay(ms: number): void {
    this.#delayMs = ms;
  }

  freeze(...directions: readonly Direction[]): void {
    for (const direction of directions.length === 0 ? (["to-server", "to-client"] as const) : directions) this.#frozen.add(direction);
    for (const { direction, from } of this.#pipes) if (this.#frozen.has(direction)) from.pause();
  }

  /** Undoes all of them. Connections that were cut stay so. */
  heal(): void {
    this.#refuses = false;
    this.#delayMs = 0;
    this.#frozen.clear();
    for (const pipe of this.#pipes) {
      for (const bytes of pipe.held.splice(0)) pipe.to.write(bytes);
      pipe.from.resume();
    }
  }

  watch(watch: ((bytes: Buffer) => void) | null): void {
    this.#watch = watch;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    const closed = once(this.#server, "close");
    this.#server.close();
    await closed;
  }

  #accept(client: Socket): void {
    this.#taken += 1;
    if (this.#refuses) {
      client.destroy();
      return;
    }
    const target = connect(this.#targetPort, "127.0.0.1");
    this.#clients.add(client);
    client.once("close", () => this.#clients.delete(client));
    this.#pass({ direction: "to-server", from: client, to: target, held: [] });
    this.#pass({ direction: "to-client", from: target, to: client, held: [] });
  }

  #pass(pipe: Pipe): void {
    const { direction, from, to } = pipe;
    this.#pipes.push(pipe);
    from.setNoDelay(true);
    // What ends one side ends the other; the reason is the fault under test.
    from.on("error", () => undefined);
    from.once("close", () => {
      to.destroy();
      this.#pipes = this.#pipes.filter((one) => one !== pipe);
    });
    from.on("data", (data: Buffer) => {
      if (direction === "to-server") this.#watch?.(data);
      if (this.#delayMs === 0) this.#forward(pipe, data);
      else setTimeout(() => this.#forward(pipe, data), this.#delayMs).unref();
    });
    if (this.#frozen.has(direction)) from.pause();
    else from.resume();
  }

  #forward(pipe: Pipe, data: Buffer): void {
    if (pipe.to.destroyed) return;
    if (this.#frozen.has(pipe.direction)) pipe.held.push(data);
    else pipe.to.write(data);
  }
}
