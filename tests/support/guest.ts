/**
 * Drives a built agent in this process, unprepared: no metering, no suspension, requests
 * answered at once by a callback. For tests of the SDK and of agents alone.
 */
import { readFileSync } from "node:fs";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { MessageSchema } from "../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { GuestCallSchema, GuestEmitSchema, GuestRequestSchema, GuestResponseSchema, GuestResultSchema } from "../../runtime/contract/gen/sirsi/agent/v1/guest_pb.ts";
import type { GuestEmit, GuestRequest, GuestResult, HealthResult, InitCallSchema, MessageResult, SaveResult, SuggestResult } from "../../runtime/contract/gen/sirsi/agent/v1/guest_pb.ts";
import { SirsiError } from "../../runtime/core/errors.ts";

export type ResponseInput = MessageInitShape<typeof GuestResponseSchema>;

export interface GuestOptions {
  /** Answers sirsi.request; by default every request fails with "unavailable". */
  readonly request?: (request: GuestRequest) => ResponseInput;
  readonly nowMs?: number;
}

type InitInput = Exclude<MessageInitShape<typeof InitCallSchema>, { $typeName: string }>;
export type MessageInput = MessageInitShape<typeof MessageSchema> | string;

interface Exports {
  readonly memory: WebAssembly.Memory;
  readonly sirsi_abi: () => number;
  readonly sirsi_alloc: (length: number) => number;
  readonly sirsi_free: (ptr: number) => void;
  readonly sirsi_call: (ptr: number, length: number) => bigint;
}

/** The guest called env.abort. */
export class GuestAbort extends SirsiError {
  constructor(message: string, place: string) {
    super("GUEST_TRAP", `${message} at ${place}`);
  }
}

function unexpected(wanted: string, result: GuestResult["result"]): SirsiError {
  const got = result.case === "error" ? `${result.value.code}: ${result.value.message}` : String(result.case);
  return new SirsiError("GUEST_PROTOCOL", `expected ${wanted}, got ${got}`);
}

export class Guest {
  readonly exports: Exports;
  readonly logs: { readonly level: number; readonly text: string }[] = [];
  readonly emitted: GuestEmit[] = [];
  readonly requests: GuestRequest[] = [];
  nowMs: number;
  readonly #options: GuestOptions;
  #seed = 1;

  constructor(module: WebAssembly.Module, options: GuestOptions = {}) {
    this.#options = options;
    this.nowMs = options.nowMs ?? 1_750_000_000_000;
    const instance = new WebAssembly.Instance(module, this.#imports());
    this.exports = instance.exports as unknown as Exports;
  }

  static fromFile(file: string, options: GuestOptions = {}): Guest {
    return new Guest(new WebAssembly.Module(readFileSync(file)), options);
  }

  #imports(): WebAssembly.Imports {
    return {
      env: {
        abort: (message: number, file: number, line: number, column: number) => {
          throw new GuestAbort(this.#assemblyScriptString(message), `${this.#assemblyScriptString(file)}:${line}:${column}`);
        },
      },
      sirsi: {
        log: (level: number, ptr: number, length: number) => void this.logs.push({ level, text: new TextDecoder("utf-8", { fatal: true }).decode(this.read(ptr, length)) }),
        now: () => BigInt(this.nowMs),
        random: (ptr: number, length: number) => {
          const room = this.#room(ptr, length);
          for (let i = 0; i < length; i++) room[i] = this.#nextByte();
        },
        emit: (ptr: number, length: number) => void this.emitted.push(fromBinary(GuestEmitSchema, this.read(ptr, length))),
        request: (ptr: number, length: number) => this.#answer(fromBinary(GuestRequestSchema, this.read(ptr, length))),
      },
    };
  }

  #answer(request: GuestRequest): bigint {
    this.requests.push(request);
    const respond = this.#options.request;
    const response = respond?.(request) ?? { response: { case: "error", value: { code: "unavailable", message: "this driver answers no requests" } } };
    const bytes = toBinary(GuestResponseSchema, create(GuestResponseSchema, response));
    const ptr = this.write(bytes);
    return (BigInt(ptr) << 32n) | BigInt(bytes.length);
  }

  #nextByte(): number {
    this.#seed = (Math.imul(this.#seed, 1_103_515_245) + 12_345) >>> 0;
    return this.#seed >>> 24;
  }

  #room(ptr: number, length: number): Uint8Array {
    return new Uint8Array(this.exports.memory.buffer, ptr >>> 0, length);
  }

  #assemblyScriptString(ptr: number): string {
    if (ptr === 0) return "";
    const bytes = new DataView(this.exports.memory.buffer).getUint32(ptr - 4, true);
    return new TextDecoder("utf-16le").decode(this.read(ptr, bytes));
  }

  /** A copy of guest memory. */
  read(ptr: number, length: number): Uint8Array {
    return this.#room(ptr, length).slice();
  }

  /** Puts bytes into guest memory. */
  write(bytes: Uint8Array): number {
    const ptr = this.exports.sirsi_alloc(bytes.length) >>> 0;
    if (ptr === 0) throw new SirsiError("GUEST_MEMORY_EXHAUSTED", "sirsi_alloc gave no room");
    this.#room(ptr, bytes.length).set(bytes);
    return ptr;
  }

  /** Bytes in, bytes out, whatever they are. */
  callRaw(bytes: Uint8Array): Uint8Array {
    const packed = BigInt.asUintN(64, this.exports.sirsi_call(this.write(bytes), bytes.length));
    const ptr = Number(packed >> 32n);
    const result = this.read(ptr, Number(packed & 0xffff_ffffn));
    this.exports.sirsi_free(ptr);
    return result;
  }

  call(call: MessageInitShape<typeof GuestCallSchema>["call"]): GuestResult["result"] {
    const bytes = toBinary(GuestCallSchema, create(GuestCallSchema, call === undefined ? {} : { call }));
    return fromBinary(GuestResultSchema, this.callRaw(bytes)).result;
  }

  init(value: InitInput = {}): void {
    const result = this.call({ case: "init", value: { agentId: "agent-1", sessionId: "session-1", ...value } });
    if (result.case !== "done") throw unexpected("done", result);
  }

  message(message: MessageInput, context: Record<string, string> = {}): MessageResult {
    const result = this.send(message, context);
    if (result.case !== "message") throw unexpected("message", result);
    return result.value;
  }

  /** The result as it is, errors included. */
  send(message: MessageInput, context: Record<string, string> = {}): GuestResult["result"] {
    return this.call({ case: "message", value: { message: typeof message === "string" ? { content: message } : message, context } });
  }

  suggest(maxSuggestions = 10, contextType = "", tags: string[] = []): SuggestResult["suggestions"] {
    const result = this.call({ case: "suggest", value: { context: { contextType, tags }, maxSuggestions } });
    if (result.case !== "suggest") throw unexpected("suggest", result);
    return result.value.suggestions;
  }

  health(): HealthResult {
    const result = this.call({ case: "health", value: {} });
    if (result.case !== "health") throw unexpected("health", result);
    return result.value;
  }

  save(): SaveResult {
    const result = this.call({ case: "save", value: {} });
    if (result.case !== "save") throw unexpected("save", result);
    return result.value;
  }

  load(fromSchema: number, state: Uint8Array): GuestResult["result"] {
    return this.call({ case: "load", value: { fromSchema, state } });
  }
}
