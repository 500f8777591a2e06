/**
 * One run of one command: its options, its client, its output and its session.
 *
 * The first signal aborts `signal`, which ends calls in progress; the second ends the
 * process. The client is made when first asked for and closed at the end.
 */
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { SessionState, SirsiClient } from "../client/index.ts";
import type { CallOptions } from "../client/index.ts";
import { clientEnvironment } from "../config/index.ts";
import { UsageError } from "./failure.ts";
import { messageJson } from "./message-json.ts";
import type { Terminal } from "./terminal.ts";

export interface GlobalOptions {
  readonly address?: string;
  readonly output?: "table" | "json";
  /** Milliseconds. */
  readonly timeout?: number;
  readonly quiet?: boolean;
  readonly color?: boolean;
}

export const DEFAULT_ADDRESS = "127.0.0.1:50051";

/** The session option of commands that work in one. */
export interface SessionOption {
  readonly session?: string;
}

export class Invocation<Options extends object = object> {
  readonly terminal: Terminal;
  /** Positional arguments; absent optional ones are undefined, variadic ones are lists. */
  readonly args: readonly (string | readonly string[] | undefined)[];
  readonly options: Options & GlobalOptions;
  /** Aborted at the first signal. */
  readonly signal: AbortSignal;
  #client: SirsiClient | null = null;

  constructor(terminal: Terminal, args: Invocation["args"], options: Options & GlobalOptions, signal: AbortSignal) {
    this.terminal = terminal;
    this.args = args;
    this.options = options;
    this.signal = signal;
  }

  get address(): string {
    return addressOf(this.options, this.terminal);
  }

  get client(): SirsiClient {
    this.#client ??= new SirsiClient({ address: this.address });
    return this.#client;
  }

  /** For unary calls: the time the user allows, and the signal. */
  get call(): CallOptions {
    return { signal: this.signal, ...(this.options.timeout === undefined ? {} : { deadlineMs: this.options.timeout }) };
  }

  get json(): boolean {
    return this.options.output === "json";
  }

  /** Required positional argument number `index`. */
  arg(index: number): string {
    const value = this.args[index];
    return typeof value === "string" ? value : "";
  }

  /** All text of a variadic argument. */
  rest(index: number): readonly string[] {
    const value = this.args[index];
    return Array.isArray(value) ? (value as readonly string[]) : [];
  }

  /** A result: as protobuf JSON, as ids alone (one a line), or as a person reads it. */
  show<Schema extends DescMessage>(schema: Schema, message: MessageShape<Schema>, human: () => string, ids: readonly string[]): void {
    if (this.json) this.write(`${JSON.stringify(messageJson(schema, message), null, 2)}\n`);
    else if (this.options.quiet === true) this.write(ids.map((id) => `${id}\n`).join(""));
    else this.write(human());
  }

  write(text: string): void {
    this.terminal.stdout.write(text);
  }

  /** Something a person may want to know beside the result. */
  note(text: string): void {
    if (this.options.quiet !== true) this.terminal.stderr.write(`${text}\n`);
  }

  /** --session, else SIRSI_SESSION, else the only active session. */
  async session(named: string | undefined): Promise<string> {
    const stated = named ?? clientEnvironment(this.terminal.env).session;
    if (stated !== null && stated !== "") return stated;
    const { sessions } = await this.client.agents.listSessions({ states: [SessionState.ACTIVE], pageSize: 2 }, this.call);
    const [only, another] = sessions;
    if (only === undefined) throw new UsageError("no session is open", "Open one with `sirsi session create`.");
    if (another !== undefined) {
      throw new UsageError("several sessions are open, so say which one", "Give --session ID or set SIRSI_SESSION; `sirsi session list` shows them.");
    }
    this.note(`using session ${only.sessionId}, the only active one`);
    return only.sessionId;
  }

  close(): void {
    this.#client?.close();
  }
}

export function addressOf(options: GlobalOptions, terminal: Terminal): string {
  return options.address ?? clientEnvironment(terminal.env).address ?? DEFAULT_ADDRESS;
}
