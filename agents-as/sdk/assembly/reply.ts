import { AgentError } from "./agent-error";
import { Attachment } from "./attachment";
import { MessageMetrics, MessageType } from "./gen/agent-service";
import { MessageResult } from "./gen/guest";
import { Message } from "./message";
import { Suggestion } from "./suggestion";

/** What onMessage answers: a message with suggestions and figures, or an error. */
export class Reply {
  error: AgentError | null = null;
  readonly result: MessageResult = new MessageResult();

  static text(content: string): Reply {
    return Reply.of(Message.of(MessageType.RESPONSE, content));
  }

  static of(message: Message): Reply {
    const reply = new Reply();
    reply.result.response = message;
    return reply;
  }

  static fail(code: string, message: string, retryable: bool = false): Reply {
    return Reply.failed(AgentError.of(code, message, retryable));
  }

  static failed(error: AgentError): Reply {
    const reply = new Reply();
    reply.error = error;
    return reply;
  }

  private get message(): Message {
    let message = this.result.response;
    if (message === null) this.result.response = message = Message.of(MessageType.RESPONSE, "");
    return message;
  }

  /** Adds metadata to the answer. */
  with(key: string, value: string): Reply {
    this.message.with(key, value);
    return this;
  }

  attach(attachment: Attachment): Reply {
    this.message.attach(attachment);
    return this;
  }

  suggest(suggestion: Suggestion): Reply {
    this.result.suggestions.push(suggestion);
    return this;
  }

  /** Adds a figure about how the answer was made. */
  metric(name: string, value: f64): Reply {
    let metrics = this.result.metrics;
    if (metrics === null) this.result.metrics = metrics = new MessageMetrics();
    metrics.performanceMetrics.set(name, value);
    return this;
  }
}
