/**
 * The one error type of the host, and the closed table of what can go wrong.
 *
 * A library function throws SirsiError or returns an outcome, never both for the
 * same thing. The table is the source of docs/errors.md (a test holds them to
 * each other) and of the gRPC status of every error.
 */

/** google.rpc.Code, by number. */
export const RpcCode = {
  CANCELLED: 1,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
} as const;
export type RpcCode = (typeof RpcCode)[keyof typeof RpcCode];

export interface ErrorRow {
  /** The gRPC status it travels as. */
  readonly rpc: RpcCode;
  /** May the same request succeed later, unchanged? */
  readonly retry: boolean;
  readonly meaning: string;
  /** What the person who sees it should do next. */
  readonly next: string;
}

function row(rpc: RpcCode, retry: boolean, meaning: string, next: string): ErrorRow {
  return { rpc, retry, meaning, next };
}

const C = RpcCode;

export const ERROR_TABLE = {
  INVALID_ARGUMENT: row(C.INVALID_ARGUMENT, false, "A field of the request is missing or wrong.", "Correct the field that the error names."),
  FILTER_INVALID: row(C.INVALID_ARGUMENT, false, "The filter is not a CEL expression over the listed fields.", "Correct the expression at the place that the error names."),
  PAGE_TOKEN_INVALID: row(C.INVALID_ARGUMENT, false, "The page token was not made by this listing.", "Start again without a page token."),
  CONFIG_INVALID: row(C.INVALID_ARGUMENT, false, "A configuration value cannot be used.", "Correct the setting that the error names; `sirsi config show` tells where each value came from."),
  SESSION_NOT_FOUND: row(C.NOT_FOUND, false, "No session has this id.", "Create a session, or list them with `sirsi session list`."),
  SESSION_EXPIRED: row(C.FAILED_PRECONDITION, false, "The session has outlived its expiry and refuses work.", "Create a new session; extend the next one in time."),
  SESSION_TERMINATED: row(C.FAILED_PRECONDITION, false, "The session was ended.", "Create a new session."),
  AGENT_NOT_FOUND: row(C.NOT_FOUND, false, "No agent of this session has this id.", "List the session's agents with `sirsi agent list`."),
  AGENT_TYPE_NOT_FOUND: row(C.NOT_FOUND, false, "No active module provides this agent type.", "List the types with `sirsi agent types`, or install the module."),
  AGENT_TERMINATED: row(C.FAILED_PRECONDITION, false, "The agent has ended.", "Spawn a new agent."),
  AGENT_QUARANTINED: row(C.FAILED_PRECONDITION, false, "The agent failed too often and was set aside.", "Look at its last error with `sirsi agent status`, mend the module, and let the agent go on with `sirsi agent release`."),
  AGENT_LIMIT_REACHED: row(C.RESOURCE_EXHAUSTED, false, "The session or the host has as many agents as it may have.", "Delete agents that are done, or raise max_agents or max_concurrent_agents."),
  MAILBOX_FULL: row(C.RESOURCE_EXHAUSTED, true, "The agent has as many messages waiting as its mailbox holds.", "Wait for the retry delay and send again; send more slowly."),
  MESSAGE_ID_REUSED: row(C.ALREADY_EXISTS, false, "The message id was used before with a different message.", "Choose a new id for a new message."),
  PAYLOAD_TOO_LARGE: row(C.RESOURCE_EXHAUSTED, false, "The request or the reply is larger than the limit.", "Send less, or raise the limit that the error names."),
  DEADLINE_EXCEEDED: row(C.DEADLINE_EXCEEDED, true, "The deadline passed before the answer was there.", "Allow more time; the step had no effect unless the error says it was committed."),
  CANCELLED: row(C.CANCELLED, false, "The caller went away.", "Nothing, unless you did not mean to cancel."),
  GUEST_ERROR: row(C.FAILED_PRECONDITION, false, "The agent answered with an error of its own.", "Read the agent's code and message in the error's details."),
  GUEST_TRAP: row(C.INTERNAL, false, "The agent's code trapped; its last committed state was restored.", "Report the message and place to the module's author."),
  GUEST_FUEL_EXHAUSTED: row(C.RESOURCE_EXHAUSTED, false, "The agent computed for longer than one step may.", "Send less work in one message, or raise fuel_per_step for the module."),
  GUEST_MEMORY_EXHAUSTED: row(C.RESOURCE_EXHAUSTED, false, "The agent needed more memory than it may have.", "Send less at once, or raise the module's memory limit."),
  GUEST_PROTOCOL: row(C.INTERNAL, false, "The agent's answer broke the guest contract.", "Report it to the module's author; build it with the SDK of the same ABI."),
  GUEST_LIMIT: row(C.RESOURCE_EXHAUSTED, false, "The agent went over a limit of its step, such as outbox bytes or host calls.", "Raise the limit that the error names, or have the agent do less in one step."),
  AGENT_FENCED: row(C.ABORTED, true, "The agent belongs to another host, or to a later life of this one, by now.", "Send again: the request reaches the host that owns the agent."),
  HOST_NOT_FOUND: row(C.NOT_FOUND, false, "No live host of the fleet has this id or name.", "List them with `sirsi host list`."),
  NOT_IN_FLEET: row(C.FAILED_PRECONDITION, false, "The host is in no fleet, so there is no other host to give agents to.", "Set store.url and event_bus.servers, and start it with `sirsi serve --fleet`."),
  DEAD_LETTERED: row(C.FAILED_PRECONDITION, false, "The message ended its agent more than once and was set aside.", "Look at it with `sirsi deadletter show`, mend the module, and send it again with `sirsi deadletter retry`."),
  DEAD_LETTER_NOT_FOUND: row(C.NOT_FOUND, false, "No dead letter has this id.", "List them with `sirsi deadletter list`."),
  REPLY_FORGOTTEN: row(C.FAILED_PRECONDITION, false, "The message was done before, and its recorded reply is no longer kept.", "Do not send it again: it took effect once. Read the agent's state instead."),
  STATE_NOT_KEPT: row(C.OUT_OF_RANGE, false, "The agent's state at that commit is no longer kept, or never was.", "List the kept ones with `sirsi agent history`; raise durability.history_commits to keep more."),
  INTERRUPTED: row(C.ABORTED, false, "The host stopped while the agent's request was under way, and the request may not be made twice.", "Find out whether it took effect; the agent decides what then."),
  SHARD_LOST: row(C.UNAVAILABLE, true, "The thread that ran the agent died; the agent comes back from its last commit.", "Send again; use your own message id so that it takes effect once."),
  MODULE_NOT_FOUND: row(C.NOT_FOUND, false, "No module has this name.", "List the modules with `sirsi module list`."),
  MODULE_RETIRED: row(C.FAILED_PRECONDITION, false, "The module was removed: running agents finish, new ones are refused.", "Install the module again."),
  MODULE_REJECTED: row(C.INVALID_ARGUMENT, false, "The file is not a module that this host may run.", "Correct what the reason names and install it again."),
  MODULE_TOO_LARGE: row(C.INVALID_ARGUMENT, false, "The file is larger than a module may be.", "Make it smaller (asc -O3 --noAssert, strip debug names) or raise modules.max_bytes."),
  MODULE_TIMEOUT: row(C.INVALID_ARGUMENT, false, "Admission of the module took longer than it may.", "Simplify the module, or raise modules.admit_timeout_ms."),
  MODULE_PENDING_APPROVAL: row(C.FAILED_PRECONDITION, false, "The module asks for capabilities that were not granted.", "Grant them in the configuration under [modules.grants], then reload it."),
  MODULE_NO_PREVIOUS: row(C.FAILED_PRECONDITION, false, "There is no earlier revision to go back to.", "List the revisions with `sirsi module inspect NAME`."),
  CAPABILITY_DENIED: row(C.PERMISSION_DENIED, false, "The agent asked for something it was not granted.", "Grant the capability to the module in the configuration, then reload it."),
  ASK_CYCLE: row(C.FAILED_PRECONDITION, false, "An agent asked an agent that is itself waiting for it.", "Break the circle: answer with emit instead of request."),
  EVENTS_NOT_KEPT: row(C.OUT_OF_RANGE, false, "The events asked for are no longer kept.", "Follow from now (from_sequence 0) and read the current state."),
  STORE_UNAVAILABLE: row(C.UNAVAILABLE, true, "The store cannot be written or read now.", "Try again; look at `sirsi health` and the host's disk."),
  STORE_CORRUPT: row(C.DATA_LOSS, false, "A stored record does not pass its checks.", "Restore the data directory from a backup; keep the bad one for a report."),
  BUS_NO_RESPONDERS: row(C.UNAVAILABLE, true, "Nobody listens on the subject.", "Check that the receiver runs."),
  BUS_UNAVAILABLE: row(C.UNAVAILABLE, true, "The message bus is closed or cannot be reached.", "Try again; look at `sirsi health`."),
  SHUTTING_DOWN: row(C.UNAVAILABLE, true, "The host is shutting down and takes no new work.", "Try again on another host, or when this one is back."),
  OVERLOADED: row(C.RESOURCE_EXHAUSTED, true, "The host has as much work in hand as it may have.", "Wait for the retry delay and send again."),
  PERMISSION_DENIED: row(C.PERMISSION_DENIED, false, "The caller may not do this.", "Ask an operator for the permission."),
  UNIMPLEMENTED: row(C.UNIMPLEMENTED, false, "This host does not offer the operation.", "Check the host's version with `sirsi health`."),
  INTERNAL: row(C.INTERNAL, false, "A fault of the host itself.", "Report it with the host's log around this time."),
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof ERROR_TABLE;

/** A second clause: what to do next follows a semicolon, or is a sentence of its own. */
const SAYS_NEXT = /; |[.?!] \S/;

/** What a person should be told to do besides what the message says: nothing when it says it, else the row's advice. */
export function adviceBeside(message: string, { next }: ErrorRow): string {
  return SAYS_NEXT.test(message) ? "" : next;
}

export interface ErrorDetails {
  /** Facts for programs: string to string, sent as ErrorInfo.metadata. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Wrong fields of a request, sent as BadRequest. */
  readonly fields?: readonly { readonly field: string; readonly description: string }[];
  /** What must hold first, sent as PreconditionFailure. */
  readonly preconditions?: readonly { readonly type: string; readonly subject: string; readonly description: string }[];
  /** When to try again, in milliseconds, sent as RetryInfo. */
  readonly retryAfterMs?: number;
  /** Travels as this status instead of the row's (GUEST_ERROR uses it). */
  readonly rpc?: RpcCode;
  readonly cause?: unknown;
}

/** Where whoever threw the error knew nothing more precise. */
const RETRY_AFTER_MS = 250;

export class SirsiError extends Error {
  override readonly name = "SirsiError";
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.details = details;
  }

  get row(): ErrorRow {
    return ERROR_TABLE[this.code];
  }

  get rpcCode(): RpcCode {
    return this.details.rpc ?? this.row.rpc;
  }

  get retryable(): boolean {
    return this.row.retry;
  }

  /** When the same request may be sent again; null when that would not help, and after a deadline: the time was the caller's own. */
  get retryAfterMs(): number | null {
    const { retryAfterMs } = this.details;
    if (retryAfterMs !== undefined) return retryAfterMs;
    return this.retryable && this.code !== "DEADLINE_EXCEEDED" ? RETRY_AFTER_MS : null;
  }

  /** Any thrown value as a SirsiError; what is not one becomes INTERNAL. */
  static from(thrown: unknown): SirsiError {
    if (thrown instanceof SirsiError) return thrown;
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    return new SirsiError("INTERNAL", message, { cause: thrown });
  }

  /** Plain data for a thread boundary; `revive` is the way back. */
  toPlain(): PlainError {
    const { cause: _cause, ...details } = this.details;
    return { code: this.code, message: this.message, details };
  }

  static revive(plain: PlainError): SirsiError {
    return new SirsiError(plain.code, plain.message, plain.details);
  }
}

export interface PlainError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly details: ErrorDetails;
}

/** Marks a branch that the types rule out. */
export function unreachable(value: never): never {
  throw new SirsiError("INTERNAL", `unexpected value ${JSON.stringify(value)}: a case is missing in a switch`);
}
