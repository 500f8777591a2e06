import { Code } from "./agent-error";
import { SuggestionContext } from "./gen/agent-service";
import { AgentEvent } from "./gen/events";
import { InitCall } from "./gen/guest";
import { Message } from "./message";
import { Health, Outcome, TaskOutcome } from "./outcome";
import { Reply } from "./reply";
import { Suggestion } from "./suggestion";
import { NO_BYTES } from "./wire";

/** What came with a message besides the message. */
export class MessageContext {
  constructor(
    private readonly values: Map<string, string> | null,
    /** The agent that sent the message; "" when a client did. */
    public readonly sourceAgentId: string,
  ) {}

  /** A value of the caller's context; "" when there is none. */
  get(key: string): string {
    const values = this.values;
    return values !== null && values.has(key) ? values.get(key) : "";
  }
}

/**
 * An agent. Extend it, override what the agent does, and `register` one.
 *
 * One instance of the class is one agent: its fields are the agent's state. The host keeps
 * them safe between steps and during waits, so an override may simply assign to them. Only
 * `save` and `load` are needed for state to survive a change of the code itself.
 *
 * The constructor runs before the host is there: do not log, ask or read the clock in it.
 */
export abstract class Agent {
  /** The number of the layout that `save` writes. Raise it when the layout changes. */
  stateSchema: i32 = 1;

  private init: InitCall = new InitCall();

  get id(): string {
    return this.init.agentId;
  }

  get sessionId(): string {
    return this.init.sessionId;
  }

  /** A parameter of the agent's configuration. */
  parameter(name: string, fallback: string = ""): string {
    const config = this.init.config;
    if (config === null) return fallback;
    const parameters = config.parametersOrNull;
    return parameters !== null && parameters.has(name) ? parameters.get(name) : fallback;
  }

  /** Called by the SDK. */
  begin(init: InitCall): Outcome {
    this.init = init;
    return this.onInit(init);
  }

  /** The first call of an agent's life. */
  onInit(init: InitCall): Outcome {
    return Outcome.ok();
  }

  onMessage(message: Message, context: MessageContext): Reply {
    return Reply.fail(Code.UNIMPLEMENTED, "this agent answers no messages");
  }

  /** Suggestions that fit the context; the first `limit` are used. */
  onSuggest(context: SuggestionContext, limit: i32): Suggestion[] {
    return [];
  }

  /** An event on a topic that the manifest names. */
  onEvent(event: AgentEvent): Outcome {
    return Outcome.ok();
  }

  onTimer(timerId: string, payload: Uint8Array): Outcome {
    return Outcome.ok();
  }

  onTask(taskId: string, name: string, input: Uint8Array): TaskOutcome {
    return TaskOutcome.fail(Code.UNIMPLEMENTED, "this agent does no tasks");
  }

  onHealth(): Health {
    return Health.healthy();
  }

  /** The agent's state in its own layout, numbered by `stateSchema`. */
  save(): Uint8Array {
    return NO_BYTES;
  }

  /** Takes over what another revision of the module saved. */
  load(fromSchema: i32, state: Uint8Array): Outcome {
    if (state.length == 0) return Outcome.ok();
    return Outcome.fail(Code.UNIMPLEMENTED, "this agent cannot read saved state; override load()");
  }

  onShutdown(reason: string): void {}
}

let registered: Agent | null = null;

/** Makes `agent` the one this module runs. Call it once, at the top level of the module. */
export function register(agent: Agent): void {
  registered = agent;
}

export function registeredAgent(): Agent | null {
  return registered;
}
