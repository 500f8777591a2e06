import { Agent, Health, Message, MessageContext, MessageType, Reply, Suggestion, SuggestionContext, SuggestionType, register } from "@sirsi/agent-sdk";

/** Says back what it hears. Holds no state. */
class Echo extends Agent {
  onMessage(message: Message, context: MessageContext): Reply {
    const answer = Message.of(MessageType.RESPONSE, message.content);
    answer.metadataOrNull = message.metadataOrNull;
    answer.attachmentsOrNull = message.attachmentsOrNull;
    return Reply.of(answer);
  }

  onSuggest(context: SuggestionContext, limit: i32): Suggestion[] {
    return [Suggestion.of("Say something", "Whatever you send comes back, metadata and attachments included.").kind(SuggestionType.QUERY).sure(1).rank(5).act("message", "hello")];
  }

  onHealth(): Health {
    return Health.healthy("listening");
  }
}

register(new Echo());
