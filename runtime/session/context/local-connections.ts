/** Who is connected to this host, by session. */
export class LocalConnections {
  readonly #counts = new Map<string, number>();
  readonly #onChange: () => void;

  constructor(onChange: () => void = () => undefined) {
    this.#onChange = onChange;
  }

  /** Until the result is called. */
  add(sessionId: string): () => void {
    this.#change(sessionId, 1);
    let connected = true;
    return () => {
      if (connected) this.#change(sessionId, -1);
      connected = false;
    };
  }

  of(sessionId: string): number {
    return this.#counts.get(sessionId) ?? 0;
  }

  all(): IterableIterator<[sessionId: string, connections: number]> {
    return this.#counts.entries();
  }

  #change(sessionId: string, by: number): void {
    const connections = this.of(sessionId) + by;
    if (connections === 0) this.#counts.delete(sessionId);
    else this.#counts.set(sessionId, connections);
    this.#onChange();
  }
}
