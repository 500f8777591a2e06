import { decodeUtf8, startWriting, takeWritten, writeText } from "./wire";

/** Text as UTF-8; a lone surrogate becomes U+FFFD. */
export function bytesOf(text: string): Uint8Array {
  startWriting();
  writeText(text);
  return takeWritten();
}

/** The text of UTF-8 bytes, or null when they are not UTF-8. */
export function textOf(bytes: Uint8Array): string | null {
  return decodeUtf8(bytes.dataStart, <usize>bytes.length);
}
