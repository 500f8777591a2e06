import { Suggestion } from "@sirsi/agent-sdk";
import { Finding } from "../finding";
import { Estate } from "../terraform";
import { computeRules } from "./compute";
import { credentialRules } from "./credentials";
import { databaseRules } from "./database";
import { hygieneRules, tagRules } from "./hygiene";
import { identityRules } from "./identity";
import { networkRules } from "./network";
import { Companions, addressRules, storageRules } from "./storage";

/** Every finding about what is there or will be, the most urgent first. */
export function judge(estate: Estate): Suggestion[] {
  const findings: Finding[] = [];
  const companions = new Companions(estate);
  const attached = attachedAddresses(estate);
  for (let i = 0; i < estate.resources.length; i++) {
    const resource = estate.resources[i];
    if (!resource.isManaged) continue;
    networkRules(resource, findings);
    storageRules(resource, companions, findings);
    addressRules(resource, attached, findings);
    databaseRules(resource, findings);
    computeRules(resource, findings);
    identityRules(resource, findings);
    credentialRules(resource, findings);
    hygieneRules(resource, findings);
  }
  tagRules(estate, findings);
  const suggestions: Suggestion[] = [];
  const ids = new Set<string>();
  for (let i = 0; i < findings.length; i++) {
    const suggestion = findings[i].toSuggestion();
    const id = suggestion.suggestionId;
    for (let n = 2; ids.has(suggestion.suggestionId); n++) suggestion.suggestionId = id + "#" + n.toString();
    ids.add(suggestion.suggestionId);
    suggestions.push(suggestion);
  }
  suggestions.sort(byUrgency);
  return suggestions;
}

function byUrgency(a: Suggestion, b: Suggestion): i32 {
  if (a.priority != b.priority) return a.priority - b.priority;
  if (a.confidence != b.confidence) return a.confidence > b.confidence ? -1 : 1;
  return a.suggestionId < b.suggestionId ? -1 : 1;
}

function attachedAddresses(estate: Estate): Set<string> {
  const attached = new Set<string>();
  for (let i = 0; i < estate.resources.length; i++) {
    const resource = estate.resources[i];
    if (resource.type == "aws_eip_association" || resource.type == "aws_nat_gateway") attached.add(resource.text("allocation_id"));
  }
  return attached;
}
