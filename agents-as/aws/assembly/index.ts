import { Agent, Attachment, Code, Health, Message, MessageContext, MessageResult, Outcome, Reply, Suggestion, SuggestionContext, SuggestionType, bytesOf, decodeMessageResult, encodeMessageResult, register } from "@sirsi/agent-sdk";
import { describe, inventoryJson } from "./inventory";
import { judge } from "./rules/index";
import { EXPECTED, readEstate } from "./terraform";

/** Suggestions that travel with an answer; the command "findings" lists the rest. */
const SUGGESTIONS_MAX: i32 = 100;

/** Reads Terraform's JSON. State: the last answer, whole, so that it can be asked for again. */
class Aws extends Agent {
  private last: MessageResult | null = null;
  private lastAt: string = "";

  onMessage(message: Message, context: MessageContext): Reply {
    const attachments = message.attachments;
    for (let i = 0; i < attachments.length; i++) if (attachments[i].bytes().length > 0) return this.read(attachments[i].bytes(), attachments[i].name);
    if (attachments.length > 0) return Reply.fail(Code.INVALID_ARGUMENT, 'the attachment "' + attachments[0].name + '" has no data: send the bytes, not a URL; ' + EXPECTED);
    const content = message.content.trim();
    if (content.startsWith("{") || content.startsWith("[")) return this.read(bytesOf(content), "content");
    if (content == "inventory") return this.again();
    if (content == "findings") return this.findings();
    return Reply.fail(Code.INVALID_ARGUMENT, "there is no Terraform JSON in the message: attach it, or send it as the content; " + EXPECTED + '. After that, "inventory" and "findings" answer from the last one');
  }

  private read(bytes: Uint8Array, name: string): Reply {
    const estate = readEstate(bytes);
    if (estate.fault != "") {
      estate.release();
      return Reply.fail(Code.INVALID_ARGUMENT, name + ": " + estate.fault);
    }
    const suggestions = judge(estate);
    const reply = Reply.text(describe(estate, suggestions)).attach(Attachment.of("inventory.json", "application/json", inventoryJson(estate)));
    reply.with("resources", estate.resources.length.toString()).with("findings", suggestions.length.toString()).with("source", estate.kind);
    reply.result.suggestions = suggestions;
    estate.release();
    this.last = reply.result;
    this.lastAt = name;
    return this.again();
  }

  /** The last answer; it is kept with all its suggestions and sent with the first ones. */
  private again(): Reply {
    const last = this.last;
    if (last === null) return Reply.fail(Code.FAILED_PRECONDITION, "no inventory yet: send a Terraform state or plan first");
    const reply = new Reply();
    reply.result.response = last.response;
    reply.result.suggestions = last.suggestions.slice(0, SUGGESTIONS_MAX);
    return reply;
  }

  private findings(): Reply {
    const last = this.last;
    if (last === null) return Reply.fail(Code.FAILED_PRECONDITION, "no inventory yet: send a Terraform state or plan first");
    const lines: string[] = [];
    for (let i = 0; i < last.suggestions.length; i++) {
      const finding = last.suggestions[i];
      lines.push(finding.priority.toString() + "  " + finding.title + " [" + metadata(finding, "evidence") + "]");
    }
    return Reply.text(lines.length == 0 ? "no findings" : lines.join("\n"));
  }

  /** The last inventory's findings; tags and the context's type choose categories and rules. */
  onSuggest(context: SuggestionContext, limit: i32): Suggestion[] {
    const last = this.last;
    if (last === null) {
      return [Suggestion.of("Send a Terraform state or plan", "Attach the output of the command; this agent lists what is in it and what to mend.").kind(SuggestionType.QUERY).sure(0.9).rank(2).act("shell", "terraform show -json > state.json")];
    }
    const wanted = context.tags.slice(0);
    if (context.contextType == "security" || context.contextType == "cost" || context.contextType == "reliability" || context.contextType == "operations") wanted.push(context.contextType);
    const chosen: Suggestion[] = [];
    for (let i = 0; i < last.suggestions.length && chosen.length < limit; i++) {
      const finding = last.suggestions[i];
      if (wanted.length == 0 || wanted.includes(metadata(finding, "category")) || wanted.includes(metadata(finding, "rule"))) chosen.push(finding);
    }
    return chosen;
  }

  onHealth(): Health {
    const last = this.last;
    if (last === null) return Health.healthy("no inventory yet");
    return Health.healthy("holds an inventory of " + this.lastAt).with("findings", last.suggestions.length.toString());
  }

  save(): Uint8Array {
    const last = this.last;
    return last === null ? new Uint8Array(0) : encodeMessageResult(last);
  }

  load(fromSchema: i32, state: Uint8Array): Outcome {
    if (state.length == 0) return Outcome.ok();
    const last = decodeMessageResult(state);
    if (fromSchema != 1 || last === null) return Outcome.fail(Code.INVALID_ARGUMENT, "the saved state is not one that aws wrote (schema 1: its last answer)");
    this.last = last;
    this.lastAt = "an earlier revision";
    return Outcome.ok();
  }
}

function metadata(suggestion: Suggestion, key: string): string {
  return suggestion.metadata.has(key) ? suggestion.metadata.get(key) : "";
}

register(new Aws());
