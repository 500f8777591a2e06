/**
 * One connection to the database, and the only file that knows the client library.
 *
 * The client is given a single connection each, and a socket of ours: so a transaction's
 * statements travel down one connection without waiting for each other, a connection
 * that hangs can be cut by itself, and one that broke is thrown away with all it had in
 * hand instead of being mended.
 *
 * States: open -> gone. A link that is gone answers everything with why it is.
 *
 * L1 Statements are answered in the order they were asked.
 * L2 Every statement settles: with its rows, with the server's fault, or, when the
 *    connection ends first, with the connection's.
 */
import { connect, type Socket } from "node:net";
import postgres from "postgres";
import { Deferred } from "../../core/deferred.ts";
import type { ConnectionTarget, ServerAddress } from "./connection-url.ts";
import { faultKind, isAborted, LinkFault, saidBy } from "./postgres-fault.ts";
import type { Row } from "./row.ts";

export type Parameter = string | number | boolean | Uint8Array | null;

export interface Statement {
  readonly sql: string;
  readonly parameters: readonly Parameter[];
}

export interface Rows extends ReadonlyArray<Row> {
  /** How many rows the statement wrote or gave. */
  readonly count: number;
  readonly command: string;
}

export interface LinkLimits {
  readonly connectTimeoutMs: number;
  /** After this the server gives a statement up, and a lock that it waits for. */
  readonly statementTimeoutMs: number;
  /** A host that stops in the middle of a transaction loses its locks after this. */
  readonly idleInTransactionMs: number;
}

/** Quiet connections are tried so often, so that a server that vanished is noticed. */
const KEEP_ALIVE_MS = 10_000;

/** What is read as something else than text. 8-byte integers here are counts and sequences, far below 2^53. */
const TYPES = {
  bigint: { to: 20, from: [20], serialize: String, parse: Number },
  bytea: { to: 17, from: [17], serialize: (bytes: Uint8Array) => `\\x${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex")}`, parse: (hex: string) => new Uint8Array(Buffer.from(hex.slice(2), "hex")) },
  jsonText: { to: 3802, from: [114, 3802], serialize: String, parse: String },
};

async function dial({ host, port }: ServerAddress, timeoutMs: number): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const socket = connect({ host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS });
  socket.once("connect", resolve);
  socket.once("error", reject);
  socket.setTimeout(timeoutMs, () => reject(new LinkFault("CONNECT_TIMEOUT", `no answer from ${host}:${port} within ${timeoutMs} ms`)));
  try {
    await promise;
    socket.setTimeout(0);
    socket.removeAllListeners();
    return Object.assign(socket, { host });
  } catch (thrown) {
    socket.destroy();
    throw thrown;
  }
}

/** Ours to cut, whatever the client makes of it. */
interface Line {
  socket: Socket | null;
  /** Why it is over; null while it is not. */
  over: unknown;
}

type Client = Pick<postgres.Sql, "unsafe" | "end">;

export class Link {
  readonly #sql: Client;
  readonly #line: Line;
  readonly #gone = new Deferred<void>();

  private constructor(sql: Client, line: Line) {
    this.#sql = sql;
    this.#line = line;
  }

  /** A connection to a server that takes writes. Rejects with what the network or the server said. */
  static async open(target: ConnectionTarget, server: ServerAddress, limits: LinkLimits): Promise<Link> {
    const line: Line = { socket: null, over: null };
    const held: { link: Link | null } = { link: null };
    const sql = postgres({
      host: server.host,
      port: server.port,
      database: target.database,
      username: target.user,
      password: target.password,
      // An address has no server name to send; without a host to check, the certificate would be held against "localhost".
      ssl: typeof target.tls === "object" ? { ...target.tls, host: server.host } : target.tls,
      max: 1,
      // It would end a connection between two statements of a transaction.
      max_lifetime: null,
      idle_timeout: 0,
      connect_timeout: Math.ceil(limits.connectTimeoutMs / 1000),
      keep_alive: null,
      backoff: false,
      prepare: true,
      fetch_types: false,
      types: TYPES,
      onnotice: () => {},
      onclose: () => held.link?.cut(new LinkFault("CONNECTION_CLOSED", "the server closed it")),
      connection: {
        application_name: "sirsi",
        ...target.settings,
        statement_timeout: limits.statementTimeoutMs,
        lock_timeout: limits.statementTimeoutMs,
        idle_in_transaction_session_timeout: limits.idleInTransactionMs,
      },
      // One connection is one socket: the client's way of making another is closed.
      socket: async () => {
        if (line.over !== null || line.socket !== null) throw line.over ?? new LinkFault("CONNECTION_CLOSED", "it ended");
        line.socket = await dial(server, limits.connectTimeoutMs);
        return line.socket;
      },
    } as unknown as postgres.Options<typeof TYPES>) as unknown as Client;
    const link = new Link(sql, line);
    held.link = link;
    try {
      const [row] = await link.query("SHOW transaction_read_only", []);
      if (row?.["transaction_read_only"] === "on") throw new LinkFault("25006", "the server is a standby, or set to read only");
      return link;
    } catch (thrown) {
      link.cut(thrown);
      throw thrown;
    }
  }

  get isGone(): boolean {
    return this.#line.over !== null;
  }

  /** Resolves when it is gone. */
  get gone(): Promise<void> {
    return this.#gone.promise;
  }

  query(sql: string, parameters: readonly Parameter[]): Promise<Rows> {
    return this.#ask(sql, parameters, true);
  }

  /** Planned anew each time, for these parameters: for what is asked seldom, and is dear where the plan does not fit. */
  queryPlanned(sql: string, parameters: readonly Parameter[]): Promise<Rows> {
    return this.#ask(sql, parameters, false);
  }

  async #ask(sql: string, parameters: readonly Parameter[], prepare: boolean): Promise<Rows> {
    if (this.#line.over !== null) throw this.#line.over;
    try {
      return await this.#sql.unsafe(sql, parameters as never[], { prepare });
    } catch (thrown) {
      if (faultKind(thrown) === "lost") this.cut(thrown);
      throw thrown;
    }
  }

  /** All in one go; rejects with the first fault when all are settled. */
  async pipeline(statements: readonly Statement[]): Promise<Rows[]> {
    const settled = await Promise.allSettled(statements.map(({ sql, parameters }) => this.query(sql, parameters)));
    const faults = settled.filter((one) => one.status === "rejected").map((one): unknown => one.reason);
    const fault = faults.find((one) => !isAborted(one)) ?? faults[0];
    if (fault !== undefined) throw fault;
    return settled.map((one) => (one as PromiseFulfilledResult<Rows>).value);
  }

  /** L2: over at once; whatever is open gets `reason`, or the client's own word for it. */
  cut(reason: unknown): void {
    if (this.#line.over !== null) return;
    this.#line.over = faultKind(reason) === "lost" ? reason : new LinkFault("CONNECTION_DESTROYED", saidBy(reason));
    this.#line.socket?.destroy();
    void this.#sql.end({ timeout: 0 });
    this.#gone.resolve();
  }

  /** Ends a connection that has nothing in hand. */
  async end(): Promise<void> {
    if (this.#line.over !== null) return;
    this.#line.over = new LinkFault("CONNECTION_ENDED", "it was ended");
    await this.#sql.end({ timeout: 1 });
    this.#line.socket?.destroy();
    this.#gone.resolve();
  }
}
