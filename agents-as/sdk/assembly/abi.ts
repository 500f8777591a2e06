/** The module's exports: one GuestCall in, one GuestResult out. */
import { AgentError, Code } from "./agent-error";
import { Agent, MessageContext, registeredAgent } from "./agent";
import { SuggestionContext } from "./gen/agent-service";
import { AgentEvent } from "./gen/events";
import { Done, GuestCall, GuestCallCallCase, GuestResult, InitCall, LoadCall, MessageCall, SaveResult, SuggestCall, SuggestResult, TaskCall, TaskResult, TimerCall, readGuestCall, writeGuestResult } from "./gen/guest";
import { Message } from "./message";
import { Outcome } from "./outcome";
import { freeRoom, takeRoom, wipeRoom } from "./room";
import { Suggestion, completeSuggestion } from "./suggestion";
import { finishReading, releaseWritten, startReading, startWriting, writtenAt, writtenLength } from "./wire";

const ABI_VERSION: i32 = 1;

export function sirsi_abi(): i32 {
  return ABI_VERSION;
}

export function sirsi_alloc(length: i32): usize {
  return length < 0 ? 0 : takeRoom(<usize>length);
}

/** Frees room from sirsi_alloc, or the result of sirsi_call. */
export function sirsi_free(ptr: usize): void {
  if (ptr == writtenAt()) releaseWritten();
  else freeRoom(ptr);
}

export function sirsi_call(ptr: usize, length: i32): i64 {
  const call = new GuestCall();
  const end = ptr + <usize>length;
  let fault = "the call lies outside memory";
  if (length >= 0 && end >= ptr && <u64>end <= (<u64>memory.size()) << 16) {
    startReading(ptr);
    readGuestCall(call, end);
    fault = finishReading();
    wipeRoom(ptr, <usize>length);
  }
  const result = fault.length == 0 ? answer(call) : failed(AgentError.of(Code.INVALID_ARGUMENT, "the call is malformed: " + fault));
  startWriting();
  writeGuestResult(result);
  return <i64>(((<u64>writtenAt()) << 32) | writtenLength());
}

function answer(call: GuestCall): GuestResult {
  const agent = registeredAgent();
  if (agent === null) return failed(AgentError.of(Code.INTERNAL, "the module registers no agent; call register(new YourAgent()) at its top level"));
  switch (call.callCase) {
    case GuestCallCallCase.INIT:
      return init(agent, call.init!);
    case GuestCallCallCase.MESSAGE:
      return message(agent, call.message!);
    case GuestCallCallCase.SUGGEST:
      return suggest(agent, call.suggest!);
    case GuestCallCallCase.EVENT: {
      const event = call.event!.event;
      return done(agent.onEvent(event === null ? new AgentEvent() : event));
    }
    case GuestCallCallCase.TIMER: {
      const timer: TimerCall = call.timer!;
      return done(agent.onTimer(timer.timerId, timer.payload));
    }
    case GuestCallCallCase.TASK:
      return task(agent, call.task!);
    case GuestCallCallCase.HEALTH: {
      const result = new GuestResult();
      result.health = agent.onHealth().result;
      return result;
    }
    case GuestCallCallCase.SAVE:
      return save(agent);
    case GuestCallCallCase.LOAD: {
      const load: LoadCall = call.load!;
      return done(agent.load(load.fromSchema, load.state));
    }
    case GuestCallCallCase.SHUTDOWN: {
      agent.onShutdown(call.shutdown!.reason);
      return done(Outcome.ok());
    }
    default:
      return failed(AgentError.of(Code.UNIMPLEMENTED, "the SDK this agent was built with does not know the call"));
  }
}

function init(agent: Agent, call: InitCall): GuestResult {
  const result = done(agent.begin(call));
  // The collector's first threshold is half of memory; one collection now ties it to what the
  // agent really holds, so that garbage stays within a few pages and checkpoints stay small.
  __collect();
  return result;
}

function message(agent: Agent, call: MessageCall): GuestResult {
  const inner = call.message;
  const reply = agent.onMessage(inner === null ? new Message() : inner, new MessageContext(call.contextOrNull, call.sourceAgentId));
  const error = reply.error;
  if (error !== null) return failed(error);
  complete(reply.result.suggestionsOrNull, i32.MAX_VALUE);
  const result = new GuestResult();
  result.message = reply.result;
  return result;
}

function suggest(agent: Agent, call: SuggestCall): GuestResult {
  const context = call.context;
  const limit = call.maxSuggestions > 0 ? call.maxSuggestions : 10;
  const suggestions = agent.onSuggest(context === null ? new SuggestionContext() : context, limit);
  complete(suggestions, limit);
  const inner = new SuggestResult();
  inner.suggestions = suggestions;
  const result = new GuestResult();
  result.suggest = inner;
  return result;
}

function complete(suggestions: Suggestion[] | null, limit: i32): void {
  if (suggestions === null) return;
  if (suggestions.length > limit) suggestions.length = limit;
  for (let i = 0, n = suggestions.length; i < n; i++) completeSuggestion(suggestions[i], i + 1);
}

function task(agent: Agent, call: TaskCall): GuestResult {
  const outcome = agent.onTask(call.taskId, call.name, call.input);
  const error = outcome.error;
  if (error !== null) return failed(error);
  const inner = new TaskResult();
  inner.output = outcome.output;
  const result = new GuestResult();
  result.task = inner;
  return result;
}

function save(agent: Agent): GuestResult {
  const inner = new SaveResult();
  inner.schema = agent.stateSchema;
  inner.state = agent.save();
  const result = new GuestResult();
  result.save = inner;
  return result;
}

function done(outcome: Outcome): GuestResult {
  const error = outcome.error;
  if (error !== null) return failed(error);
  const result = new GuestResult();
  result.done = new Done();
  return result;
}

function failed(error: AgentError): GuestResult {
  const result = new GuestResult();
  result.error = error;
  return result;
}
