import { Attachment } from "./attachment";
import { MessageBase, MessageType } from "./gen/agent-service";

/** What agents and clients say to each other. */
export class Message extends MessageBase {
  static text(content: string): Message {
    return Message.of(MessageType.TEXT, content);
  }

  static command(content: string): Message {
    return Message.of(MessageType.COMMAND, content);
  }

  static query(content: string): Message {
    return Message.of(MessageType.QUERY, content);
  }

  static of(type: i32, content: string): Message {
    const message = new Message();
    message.type = type;
    message.content = content;
    return message;
  }

  /** A metadata value; "" when there is none. */
  get(key: string): string {
    const metadata = this.metadataOrNull;
    return metadata !== null && metadata.has(key) ? metadata.get(key) : "";
  }

  with(key: string, value: string): Message {
    this.metadata.set(key, value);
    return this;
  }

  attach(attachment: Attachment): Message {
    this.attachments.push(attachment);
    return this;
  }

  /** The attachment of that name, or null. */
  attachment(name: string): Attachment | null {
    const all = this.attachmentsOrNull;
    if (all === null) return null;
    for (let i = 0, n = all.length; i < n; i++) if (all[i].name == name) return all[i];
    return null;
  }
}
