/** A file as an attachment: FILE, or FILE:TYPE with a media type. */
import { readFileSync } from "node:fs";
import { basename, extname, resolve } from "node:path";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { AttachmentSchema } from "../client/index.ts";
import { systemClock } from "../core/clock.ts";
import { newId } from "../core/ids.ts";
import { UsageError } from "./failure.ts";

const WITH_TYPE = /^(.+):([\w.+-]+\/[\w.+-]+)$/s;

const TYPE_BY_EXTENSION: Readonly<Record<string, string>> = {
  ".csv": "text/csv",
  ".html": "text/html",
  ".jpg": "image/jpeg",
  ".json": "application/json",
  ".md": "text/markdown",
  ".pdf": "application/pdf",
  ".png": "image/png",
  ".tf": "text/plain",
  ".tfstate": "application/json",
  ".toml": "application/toml",
  ".txt": "text/plain",
  ".xml": "application/xml",
  ".yaml": "application/yaml",
  ".yml": "application/yaml",
};

export function readAttachment(argument: string, cwd: string): MessageInitShape<typeof AttachmentSchema> {
  const typed = WITH_TYPE.exec(argument);
  const file = typed?.[1] ?? argument;
  const data = readBytes(resolve(cwd, file));
  return {
    attachmentId: newId(systemClock.now()),
    name: basename(file),
    mimeType: typed?.[2] ?? TYPE_BY_EXTENSION[extname(file).toLowerCase()] ?? "application/octet-stream",
    sizeBytes: BigInt(data.byteLength),
    content: { case: "data", value: data },
  };
}

export function readBytes(path: string): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(readFileSync(path));
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new UsageError(`the file ${path} cannot be read (${reason})`, "Check its name and permissions.");
  }
}
