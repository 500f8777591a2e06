/** `@sirsi/agent-sdk`: what an agent's source imports. */
export { Agent, MessageContext, register } from "./agent";
export { AgentError, Code } from "./agent-error";
export { Attachment } from "./attachment";
export { bytesOf, textOf } from "./bytes";
export { Answer, Clock, Emit, Log, Random, ask, sleep } from "./capability";
export { Document, DocumentKeys, Documents } from "./documents";
export { Action, AgentConfig, HealthStatus, MessageMetrics, MessageType, SuggestionContext, SuggestionType } from "./gen/agent-service";
export { AgentEvent } from "./gen/events";
export { InitCall, MessageResult, SuggestResult, decodeMessageResult, encodeMessageResult } from "./gen/guest";
export { JsonDocument, JsonFault, JsonValue } from "./json";
export { JsonKind } from "./json-parse";
export { JsonWriter } from "./json-writer";
export { Message } from "./message";
export { Health, Outcome, TaskOutcome } from "./outcome";
export { Reply } from "./reply";
export { Suggestion } from "./suggestion";
export { Timers } from "./timers";
