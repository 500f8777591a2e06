import { Agent, Code, Health, InitCall, Message, MessageContext, Outcome, Reply, Suggestion, SuggestionContext, bytesOf, register, textOf } from "@sirsi/agent-sdk";

const HISTORY_MAX: i32 = 20;
/** What a number may be made of: i64 has at most 19 digits, and 18 cannot overflow. */
const DIGITS_MAX: i32 = 18;

/** A whole number that `parse` found, or not. */
class Parsed {
  constructor(
    public readonly ok: bool,
    public readonly value: i64,
  ) {}

  static whole(text: string): Parsed {
    const negative = text.startsWith("-");
    const digits = negative ? text.substring(1) : text;
    if (digits.length == 0 || digits.length > DIGITS_MAX) return new Parsed(false, 0);
    let value: i64 = 0;
    for (let i = 0; i < digits.length; i++) {
      const digit = digits.charCodeAt(i) - 0x30;
      if (digit < 0 || digit > 9) return new Parsed(false, 0);
      value = value * 10 + digit;
    }
    return new Parsed(true, negative ? -value : value);
  }
}

/** Counts. State: the count and the last commands that changed it. */
class Counter extends Agent {
  private count: i64 = 0;
  private history: string[] = [];

  onInit(init: InitCall): Outcome {
    const start = Parsed.whole(this.parameter("start", "0"));
    if (!start.ok) return Outcome.fail(Code.INVALID_ARGUMENT, 'the parameter "start" must be a whole number');
    this.count = start.value;
    return Outcome.ok();
  }

  onMessage(message: Message, context: MessageContext): Reply {
    const command = message.content.trim();
    if (command == "increment") return this.add(1, command);
    if (command.startsWith("add ")) {
      const amount = Parsed.whole(command.substring(4).trim());
      if (amount.ok) return this.add(amount.value, command);
      return Reply.fail(Code.INVALID_ARGUMENT, '"add" needs a whole number of at most 18 digits, such as "add 5"');
    }
    if (command == "get") return this.answer();
    if (command == "history") return Reply.text(this.history.join("\n"));
    if (command == "reset") {
      this.count = 0;
      this.remember(command);
      return this.answer();
    }
    return Reply.fail(Code.INVALID_ARGUMENT, 'unknown command "' + command.substring(0, 60) + '"; the commands are increment, add N, get, history and reset');
  }

  private add(amount: i64, command: string): Reply {
    const sum = this.count + amount;
    if (amount > 0 ? sum < this.count : sum > this.count) return Reply.fail(Code.FAILED_PRECONDITION, "the count would leave the range of 64 bits; reset it first");
    this.count = sum;
    this.remember(command);
    return this.answer();
  }

  private remember(command: string): void {
    this.history.push(command);
    if (this.history.length > HISTORY_MAX) this.history.shift();
  }

  private answer(): Reply {
    return Reply.text(this.count.toString()).with("count", this.count.toString());
  }

  onSuggest(context: SuggestionContext, limit: i32): Suggestion[] {
    const now = "The count is " + this.count.toString() + ".";
    const suggestions = [Suggestion.of("Count one more", now).sure(0.9).rank(3).act("message", "increment")];
    if (this.count != 0) suggestions.push(Suggestion.of("Start again from 0", now).sure(0.5).rank(4).act("message", "reset"));
    return suggestions;
  }

  onHealth(): Health {
    return Health.healthy("counting").with("count", this.count.toString());
  }

  save(): Uint8Array {
    return bytesOf([this.count.toString()].concat(this.history).join("\n"));
  }

  load(fromSchema: i32, state: Uint8Array): Outcome {
    if (fromSchema != this.stateSchema) return Outcome.fail(Code.FAILED_PRECONDITION, "state of schema " + fromSchema.toString() + " is not known here; this revision reads schema 1");
    const text = textOf(state);
    const lines = text === null ? ([] as string[]) : text.split("\n");
    const count = lines.length == 0 ? new Parsed(false, 0) : wholeOf64(lines[0]);
    if (!count.ok) return Outcome.fail(Code.INVALID_ARGUMENT, "the saved state does not begin with a count");
    this.count = count.value;
    this.history = lines.slice(1);
    return Outcome.ok();
  }
}

/** A count as `save` writes it: any i64, its own text again. */
function wholeOf64(text: string): Parsed {
  const value = I64.parseInt(text);
  return new Parsed(value.toString() == text, value);
}

register(new Counter());
