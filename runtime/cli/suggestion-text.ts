/** Suggestions as a person reads them: most urgent first. */
import { SuggestionTypeSchema } from "../client/index.ts";
import type { Suggestion } from "../client/index.ts";
import { cell, cleanText } from "./text.ts";
import { valueName } from "./value-name.ts";

export function suggestionText(suggestions: readonly Suggestion[]): string {
  return suggestions
    .toSorted((a, b) => a.priority - b.priority)
    .map((suggestion, index) => {
      const kind = `${valueName(SuggestionTypeSchema, suggestion.type).toLowerCase()}, priority ${suggestion.priority}, ${Math.round(suggestion.confidence * 100)} % sure`;
      const lines = [`${index + 1}. ${cell(suggestion.title)} (${kind})`];
      if (suggestion.description !== "") lines.push(...cleanText(suggestion.description).trimEnd().split("\n").map((line) => `   ${line}`));
      if (suggestion.action !== undefined) lines.push(`   ${cell(suggestion.action.actionType)}: ${cell(suggestion.action.command)}`);
      return `${lines.join("\n")}\n`;
    })
    .join("");
}
