/**
 * A TCP proxy on the loopback that does to a connection what networks do.
 *
 * `cut` ends every connection and takes no new one until `heal`. `delay` holds back
 * each piece of data for a while, in order. `freeze` is the half-open link: sockets
 * stay open, new ones are taken, and nothing passes in either direction until
 * `heal`, so what is written piles up in buffers as it would before a dead router.
 */
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { once } from "node:events";

export interface FaultProxy extends AsyncDisposable {
  readonly port: number;
  /** Connections taken so far, those included that were ended at once. */
  readonly taken: number;
  /** Connections that are open on the client's side. */
  readonly open: number;
  cut(): void;
  delay(ms: number): void;
  freeze(): void;
  /** Undoes all of them. Connections that were cut stay so. */
  heal(): void;
}

/** One direction of one connection. */
interface Pipe {
  readonly from: Socket;
  readonly to: Socket;
}

class TcpFaultProxy implements FaultProxy {
  readonly #server = createServer({ pauseOnConnect: true }, (client) => this.#accept(client));
  readonly #targetPort: number;
  readonly #sockets = new Set<Socket>();
  readonly #clients = new Set<Socket>();
  #pipes: Pipe[] = [];
  #mode: "through" | "cut" | "frozen" = "through";
  #delayMs = 0;
  #taken = 0;

  constructor(targetPort: number) {
    this.#targetPort = targetPort;
  }

  async listen(): Promise<this> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    return this;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get taken(): number {
    return this.#taken;
  }

  get open(): number {
    return this.#clients.size;
  }

  cut(): void {
    this.#mode = "cut";
    for (const socket of this.#sockets) socket.destroy();
  }

  delay(ms: number): void {
    this.#delayMs = ms;
  }

  freeze(): void {
    this.#mode = "frozen";
    for (const { from } of this.#pipes) from.pause();
  }

  heal(): void {
    this.#mode = "through";
    this.#delayMs = 0;
    for (const { from } of this.#pipes) from.resume();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    const closed = once(this.#server, "close");
    this.#server.close();
    await closed;
  }

  #accept(client: Socket): void {
    this.#taken += 1;
    if (this.#mode === "cut") {
      client.destroy();
      return;
    }
    const target = connect(this.#targetPort, "127.0.0.1");
    this.#clients.add(client);
    client.once("close", () => this.#clients.delete(client));
    for (const pipe of [{ from: client, to: target }, { from: target, to: client }]) this.#pass(pipe);
  }

  #pass(pipe: Pipe): void {
    const { from, to } = pipe;
    this.#pipes.push(pipe);
    this.#sockets.add(from);
    from.setNoDelay(true);
    // What ends one side ends the other; the reason is the fault under test.
    from.on("error", () => undefined);
    from.once("close", () => {
      to.destroy();
      this.#sockets.delete(from);
      this.#pipes = this.#pipes.filter((one) => one !== pipe);
    });
    from.on("data", (data) => {
      const forward = () => void (to.destroyed || to.write(data));
      if (this.#delayMs === 0) forward();
      else setTimeout(forward, this.#delayMs).unref();
    });
    if (this.#mode === "frozen") from.pause();
    else from.resume();
  }
}

export function startFaultProxy(targetPort: number): Promise<FaultProxy> {
  return new TcpFaultProxy(targetPort).listen();
}
