/** The way to whatever host runs at the moment; those who call wait while none does. */
import { SirsiClient } from "../../runtime/client/index.ts";
import { Deferred } from "../../runtime/core/deferred.ts";

export class HostLine {
  #client: SirsiClient | null = null;
  #waiting = new Deferred<SirsiClient>();

  connect(address: string): void {
    this.disconnect();
    this.#client = new SirsiClient({ address, retries: 0 });
    this.#waiting.resolve(this.#client);
  }

  disconnect(): void {
    if (this.#client === null) return;
    this.#client.close();
    this.#client = null;
    this.#waiting = new Deferred<SirsiClient>();
  }

  client(): Promise<SirsiClient> {
    return this.#waiting.promise;
  }
}
