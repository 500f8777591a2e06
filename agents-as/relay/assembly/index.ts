import { Agent, Answer, Code, Emit, Health, Message, MessageContext, MessageType, Outcome, Reply, Suggestion, SuggestionContext, SuggestionType, ask, bytesOf, register, sleep, textOf } from "@sirsi/agent-sdk";

const ROUNDS_MAX: i32 = 1000;
const SLEEP_MAX_MS: i32 = 3_600_000;

/** A non-negative whole number of up to nine digits; -1 for anything else. */
function wholeNumber(text: string): i32 {
  if (text.length == 0 || text.length > 9) return -1;
  let value: i32 = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) return -1;
    value = value * 10 + digit;
  }
  return value;
}

/** Asks other agents and waits. Everything it holds during a wait, loops included, survives a restart of the host. */
class Relay extends Agent {
  private relayed: i32 = 0;
  private failed: i32 = 0;
  private lastTarget: string = "";

  onMessage(message: Message, context: MessageContext): Reply {
    const words = message.content.split(" ");
    if (words[0] == "sleep" && words.length == 2) return this.rest(words[1]);
    const targets = this.targets(message);
    if (targets.length == 0) return Reply.fail(Code.INVALID_ARGUMENT, 'nobody to ask: set the metadata key "target" to an agent id, or send "sleep MS"');
    const timeoutMs = message.get("timeout_ms") == "" ? 0 : wholeNumber(message.get("timeout_ms"));
    if (timeoutMs < 0) return Reply.fail(Code.INVALID_ARGUMENT, 'the metadata key "timeout_ms" must be a whole number');
    if (words[0] == "fanout" || words[0] == "loop") return this.fanOut(words, targets, timeoutMs);
    return this.passOn(message, targets[0], timeoutMs);
  }

  private targets(message: Message): string[] {
    const named = message.get("target");
    const all = (named == "" ? this.parameter("target") : named).split(",");
    const targets: string[] = [];
    for (let i = 0; i < all.length; i++) if (all[i].trim() != "") targets.push(all[i].trim());
    return targets;
  }

  private rest(text: string): Reply {
    const durationMs = wholeNumber(text);
    if (durationMs < 0 || durationMs > SLEEP_MAX_MS) return Reply.fail(Code.INVALID_ARGUMENT, '"sleep" needs milliseconds from 0 to 3600000, such as "sleep 250"');
    const outcome = sleep(durationMs);
    const error = outcome.error;
    return error !== null ? Reply.failed(error) : Reply.text("slept " + durationMs.toString() + " ms");
  }

  private askOne(target: string, message: Message, timeoutMs: i32): Answer {
    this.lastTarget = target;
    const answer = ask(target, message, timeoutMs);
    if (answer.ok) this.relayed++;
    else this.failed++;
    return answer;
  }

  private passOn(message: Message, target: string, timeoutMs: i32): Reply {
    const question = Message.of(message.type, message.content);
    const keys = message.metadata.keys();
    for (let i = 0; i < keys.length; i++) if (keys[i] != "target" && keys[i] != "timeout_ms") question.with(keys[i], message.get(keys[i]));
    question.attachmentsOrNull = message.attachmentsOrNull;
    const answer = this.askOne(target, question, timeoutMs);
    const error = answer.error;
    if (error !== null) return Reply.failed(error);
    const reply = Message.of(MessageType.RESPONSE, answer.message.content);
    reply.metadataOrNull = answer.message.metadataOrNull;
    reply.attachmentsOrNull = answer.message.attachmentsOrNull;
    return Reply.of(reply).with("relayed_from", target);
  }

  private fanOut(words: string[], targets: string[], timeoutMs: i32): Reply {
    const rounds = words.length < 2 ? -1 : wholeNumber(words[1]);
    if (rounds < 1 || rounds > ROUNDS_MAX) return Reply.fail(Code.INVALID_ARGUMENT, '"fanout" needs how often to ask, from 1 to 1000, and then the text: "fanout 3 hello"');
    const text = words.slice(2).join(" ");
    const lines: string[] = [];
    let failures = 0;
    for (let i = 0; i < rounds; i++) {
      const answer = this.askOne(targets[i % targets.length], Message.text(text), timeoutMs);
      const error = answer.error;
      if (error !== null) failures++;
      lines.push(error === null ? answer.message.content : "error " + error.toString());
      Emit.partial(lines.length.toString() + " of " + rounds.toString());
    }
    return Reply.text(lines.join("\n")).with("asked", rounds.toString()).with("failed", failures.toString());
  }

  onSuggest(context: SuggestionContext, limit: i32): Suggestion[] {
    const pause = Suggestion.of("Wait a moment", "Shows that a waiting agent holds no thread.").kind(SuggestionType.QUERY).sure(0.6).rank(5).act("message", "sleep 100");
    if (this.lastTarget == "") return [pause];
    return [Suggestion.of("Ask again", "The last agent asked was " + this.lastTarget + ".").sure(0.7).rank(3).act("message", "hello").parameter("target", this.lastTarget), pause];
  }

  onHealth(): Health {
    const health = this.failed > this.relayed ? Health.degraded("more than half of the questions failed") : Health.healthy("relaying");
    return health.with("relayed", this.relayed.toString()).with("failed", this.failed.toString());
  }

  save(): Uint8Array {
    return bytesOf([this.relayed.toString(), this.failed.toString(), this.lastTarget].join("\n"));
  }

  load(fromSchema: i32, state: Uint8Array): Outcome {
    const text = textOf(state);
    const lines = text === null ? ([] as string[]) : text.split("\n");
    if (fromSchema != 1 || lines.length != 3 || wholeNumber(lines[0]) < 0 || wholeNumber(lines[1]) < 0) return Outcome.fail(Code.INVALID_ARGUMENT, "the saved state is not one that relay wrote (schema 1: three lines)");
    this.relayed = wholeNumber(lines[0]);
    this.failed = wholeNumber(lines[1]);
    this.lastTarget = lines[2];
    return Outcome.ok();
  }
}

register(new Relay());
