/** The way to whatever host runs at the moment; those who call wait while none does. */
import { SirsiClient } from "../../runtime/client/index.ts";
import { Deferred } from "../../runtime/core/deferred.ts";

/** How clients reach whoever serves. */
export interface Line {
  client(): Promise<SirsiClient>;
  /** That one gave no answer; where there are others, one of them is asked next. */
  avoid(client: SirsiClient): void;
}

export class HostLine implements Line {
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

  /** There is no other. */
  avoid(): void {}
}
