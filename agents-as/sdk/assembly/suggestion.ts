import { Action, SuggestionBase, SuggestionType } from "./gen/agent-service";

const PRIORITY_DEFAULT: i32 = 3;

/**
 * Something worth doing, with the command that does it. Start with `Suggestion.of` and add
 * what is known; what is left out gets a default when it is sent.
 */
export class Suggestion extends SuggestionBase {
  static of(title: string, description: string = ""): Suggestion {
    const suggestion = new Suggestion();
    suggestion.title = title;
    suggestion.description = description;
    suggestion.type = SuggestionType.ACTION;
    suggestion.confidence = 0.5;
    suggestion.priority = PRIORITY_DEFAULT;
    return suggestion;
  }

  id(id: string): Suggestion {
    this.suggestionId = id;
    return this;
  }

  /** One of SuggestionType. */
  kind(type: i32): Suggestion {
    this.type = type;
    return this;
  }

  /** 0 (a guess) to 1 (certain); clamped. */
  sure(confidence: f32): Suggestion {
    this.confidence = confidence;
    return this;
  }

  /** 1 (highest) to 5; clamped. */
  rank(priority: i32): Suggestion {
    this.priority = priority;
    return this;
  }

  with(key: string, value: string): Suggestion {
    this.metadata.set(key, value);
    return this;
  }

  /** What to do about it: a kind ("message", "aws-cli", …) and the command itself. */
  act(actionType: string, command: string): Suggestion {
    let action = this.action;
    if (action === null) this.action = action = new Action();
    action.actionType = actionType;
    action.command = command;
    return this;
  }

  parameter(key: string, value: string): Suggestion {
    let action = this.action;
    if (action === null) this.action = action = new Action();
    action.parameters.set(key, value);
    return this;
  }

  needs(permission: string): Suggestion {
    let action = this.action;
    if (action === null) this.action = action = new Action();
    action.requiredPermissions.push(permission);
    return this;
  }
}

/** Brings suggestions into the form that clients rely on. `position` counts from 1. */
export function completeSuggestion(suggestion: Suggestion, position: i32): void {
  if (suggestion.suggestionId.length == 0) suggestion.suggestionId = "suggestion-" + position.toString();
  if (suggestion.type == SuggestionType.UNSPECIFIED) suggestion.type = SuggestionType.ACTION;
  const confidence = suggestion.confidence;
  suggestion.confidence = confidence >= 0 ? min<f32>(confidence, 1) : 0;
  suggestion.priority = suggestion.priority == 0 ? PRIORITY_DEFAULT : min(max(suggestion.priority, 1), 5);
  let action = suggestion.action;
  if (action === null) suggestion.action = action = new Action();
  if (action.actionType.length == 0) action.actionType = "review";
  if (action.command.length == 0) action.command = suggestion.title.length > 0 ? suggestion.title : "review";
}
