import { bytesOf, textOf } from "./bytes";
import { AttachmentBase } from "./gen/agent-service";
import { NO_BYTES } from "./wire";

/** A file that travels with a message: its bytes, or the URL where they are. */
export class Attachment extends AttachmentBase {
  static of(name: string, mimeType: string, bytes: Uint8Array): Attachment {
    const attachment = new Attachment();
    attachment.name = name;
    attachment.mimeType = mimeType;
    attachment.sizeBytes = bytes.length;
    attachment.data = bytes;
    return attachment;
  }

  static ofText(name: string, mimeType: string, text: string): Attachment {
    return Attachment.of(name, mimeType, bytesOf(text));
  }

  /** The bytes; none when the attachment is a URL. */
  bytes(): Uint8Array {
    const data = this.dataOrNull;
    return data === null ? NO_BYTES : data;
  }

  /** The bytes as text, or null when they are not UTF-8. */
  text(): string | null {
    return textOf(this.bytes());
  }
}
