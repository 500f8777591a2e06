/**
 * What clients rely on in a suggestion, made true whatever the guest said:
 * confidence 0 to 1, priority 1 to 5, an action with a type and a command.
 */
import { SuggestionType } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import type { Suggestion } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";

const PRIORITY_UNSET = 3;
const PRIORITY_LOWEST = 5;
const TYPES: ReadonlySet<number> = new Set(Object.values(SuggestionType));

export class SuggestionGuard {
  #dropped = 0;

  /** Suggestions of guests that could not be shown to anybody, since the start. */
  get dropped(): number {
    return this.#dropped;
  }

  /**
   * Mends what can be mended (in place), drops what cannot be acted on. An id that is
   * missing is made of `origin`, so that a recorded reply gets the same one again.
   */
  sound(suggestions: readonly Suggestion[], origin: string): Suggestion[] {
    const sound: Suggestion[] = [];
    for (const suggestion of suggestions) {
      const { action } = suggestion;
      if (action === undefined || action.actionType === "" || action.command === "") {
        this.#dropped += 1;
        continue;
      }
      suggestion.confidence = Number.isNaN(suggestion.confidence) ? 0 : Math.min(1, Math.max(0, suggestion.confidence));
      suggestion.priority = suggestion.priority === 0 ? PRIORITY_UNSET : Math.min(PRIORITY_LOWEST, Math.max(1, suggestion.priority));
      if (suggestion.suggestionId === "") suggestion.suggestionId = `${origin}/${sound.length + 1}`;
      if (suggestion.type === SuggestionType.UNSPECIFIED || !TYPES.has(suggestion.type)) suggestion.type = SuggestionType.ACTION;
      sound.push(suggestion);
    }
    return sound;
  }
}
