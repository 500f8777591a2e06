/** What a rehearsal found, in sentences that a person can judge. Pure. */
import { decodeGuestResult } from "../../contract/guest-codec.ts";
import { SirsiError } from "../../core/errors.ts";
import type { CopyEnd } from "./copy.ts";

/** What one copy made of one message. */
export interface Answer {
  /** What a caller would see; two that are equal are the same answer. */
  readonly text: string;
  readonly waits: boolean;
  readonly emits: number;
  readonly fuelUsed: number;
  readonly memoryBytes: number;
}

export interface ToldMessage {
  readonly content: string;
  readonly before: Answer;
  readonly now: Answer;
}

export interface AgentFindings {
  readonly agentId: string;
  /** Why the revision must not serve; empty when it may. */
  readonly refusal: string;
  /** Why this agent could not be tried; empty when it was. */
  readonly unsaved: string;
  readonly loadMs: number | null;
  readonly messages: readonly ToldMessage[];
}

const SHOWN_CHARS = 80;
const SENTENCES_MAX = 20;
/** Smaller changes are noise, and so is all of it below FUEL_MIN. */
const FUEL_FACTOR = 1.5;
const FUEL_MIN = 100_000;

export function answerOf(end: CopyEnd): Answer {
  const none = { emits: 0, fuelUsed: 0, memoryBytes: 0 };
  if (end.kind === "waits") return { ...none, text: "it asks the host for something", waits: true };
  if (end.kind === "failed") return { ...none, text: `${end.error.code}: ${end.error.message}`, waits: false };
  const { emits, fuelUsed, memoryBytes } = end;
  return { text: wordsOf(end.result), waits: false, emits, fuelUsed, memoryBytes };
}

function wordsOf(result: Uint8Array): string {
  try {
    const decoded = decodeGuestResult(result);
    if (decoded.case === "message") return `"${decoded.value.response?.content ?? ""}"`;
    if (decoded.case === "error") return `the error ${decoded.value.code} (${decoded.value.message})`;
    return `something that is no answer to a message (${String(decoded.case)})`;
  } catch (thrown) {
    return `something that is no answer (${SirsiError.from(thrown).message})`;
  }
}

export function sentencesOf(agents: readonly AgentFindings[]): string[] {
  const tried = agents.filter(({ unsaved }) => unsaved === "");
  const told = tried.flatMap(({ messages }) => messages);
  const sentences = [
    `${count(tried.length, "agent")} rehearsed, ${count(told.length, "message")} told again`,
    ...agents.filter(({ unsaved }) => unsaved !== "").map(({ agentId, unsaved }) => `agent ${agentId} could not be tried: ${unsaved}`),
    ...agents.filter(({ refusal }) => refusal !== "").map(({ refusal }) => refusal),
    ...loading(tried),
    ...differences(tried),
    ...emits(told),
    ...needs(told),
  ];
  if (sentences.length <= SENTENCES_MAX) return sentences;
  return [...sentences.slice(0, SENTENCES_MAX - 1), `and ${sentences.length - SENTENCES_MAX + 1} findings more`];
}

function loading(agents: readonly AgentFindings[]): string[] {
  const took = agents.flatMap(({ loadMs }) => (loadMs === null ? [] : [loadMs]));
  return took.length === 0 ? [] : [`load() needed ${Math.max(...took).toFixed(1)} ms${took.length === 1 ? "" : " at most"}`];
}

/** One sentence for each message that was answered differently, whoever was told it. */
function differences(agents: readonly AgentFindings[]): string[] {
  const told = new Map<string, ToldMessage[]>();
  for (const { messages } of agents) for (const one of messages) told.set(one.content, [...(told.get(one.content) ?? []), one]);
  const sentences: string[] = [];
  for (const [content, each] of told) {
    const waiting = each.filter(({ before, now }) => before.waits && now.waits);
    if (waiting.length > 0) sentences.push(`message ${shown(content)} asks the host for something, so it was told no further`);
    const other = each.filter(({ before, now }) => before.text !== now.text);
    const [first] = other;
    if (first !== undefined) sentences.push(`${other.length} of ${count(each.length, "copy", "copies")} answered message ${shown(content)} differently: before ${cut(first.before.text)}, now ${cut(first.now.text)}`);
  }
  const answered = [...told.values()].flat().filter(({ before, now }) => !before.waits && !now.waits);
  if (answered.length > 0 && answered.every(({ before, now }) => before.text === now.text)) sentences.push("every message was answered as before");
  return sentences;
}

function emits(told: readonly ToldMessage[]): string[] {
  const both = bothDone(told).filter(({ before, now }) => before.emits !== now.emits);
  return both.map(({ content, before, now }) => `message ${shown(content)} let ${count(before.emits, "message or event", "messages and events")} go before, and now ${now.emits}`);
}

function needs(told: readonly ToldMessage[]): string[] {
  const both = bothDone(told);
  if (both.length === 0) return [];
  const sum = (side: "before" | "now") => both.reduce((total, one) => total + one[side].fuelUsed, 0);
  const most = (side: "before" | "now") => Math.max(...both.map((one) => one[side].memoryBytes));
  const sentences: string[] = [];
  const factor = sum("now") / Math.max(1, sum("before"));
  const notable = Math.max(sum("before"), sum("now")) >= FUEL_MIN;
  if (notable && (factor >= FUEL_FACTOR || factor <= 1 / FUEL_FACTOR)) sentences.push(`fuel for the same messages ${amount(sum("before"))} -> ${amount(sum("now"))}`);
  if (most("before") !== most("now")) sentences.push(`memory ${kilobytes(most("before"))} -> ${kilobytes(most("now"))}`);
  return sentences;
}

function bothDone(told: readonly ToldMessage[]): ToldMessage[] {
  return told.filter(({ before, now }) => before.memoryBytes > 0 && now.memoryBytes > 0);
}

function count(number: number, one: string, many = `${one}s`): string {
  return `${number} ${number === 1 ? one : many}`;
}

function amount(value: number): string {
  return value.toLocaleString("en-US");
}

function kilobytes(bytes: number): string {
  return `${Math.round(bytes / 1024)} KB`;
}

function cut(text: string): string {
  return text.length > SHOWN_CHARS ? `${text.slice(0, SHOWN_CHARS)}…` : text;
}

function shown(text: string): string {
  return `"${cut(text)}"`;
}
