import { create } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import { TopicHearers } from "../../../runtime/agent/topic-hearers.ts";
import { type AgentEvent, AgentEventSchema } from "../../../runtime/contract/gen/sirsi/agent/v1/events_pb.ts";

function opened() {
  const subscribed = new Map<string, (event: AgentEvent) => void>();
  const told: string[] = [];
  const hearers = new TopicHearers(
    (sessionId, topic, hear) => {
      subscribed.set(`${sessionId}/${topic}`, hear);
      return () => subscribed.delete(`${sessionId}/${topic}`);
    },
    (agentId, event) => told.push(`${agentId}:${event.eventType}`),
  );
  const publish = (key: string, eventType: string, sourceAgentId = "") => subscribed.get(key)?.(create(AgentEventSchema, { eventType, sourceAgentId }));
  return { hearers, subscribed, told, publish };
}

it("tells each hearer of a topic but the source, over one subscription", () => {
  const { hearers, subscribed, told, publish } = opened();
  hearers.set("a", "s", ["news", "weather"]);
  hearers.set("b", "s", ["news"]);
  hearers.set("c", "other", ["news"]);
  hearers.set("d", "s", []);
  expect([...subscribed.keys()]).toEqual(["s/news", "s/weather", "other/news"]);
  publish("s/news", "one", "a");
  publish("s/weather", "two");
  expect(told).toEqual(["b:one", "a:two"]);
});

it("an agent hears what its newest revision hears, and a topic that nobody hears is left", () => {
  const { hearers, subscribed, told, publish } = opened();
  hearers.set("a", "s", ["news", "weather"]);
  hearers.set("b", "s", ["news"]);
  hearers.set("a", "s", ["sports"]);
  publish("s/news", "one");
  hearers.drop("b");
  hearers.drop("b");
  expect([told, [...subscribed.keys()]]).toEqual([["b:one"], ["s/sports"]]);
  hearers.dropAll();
  expect(subscribed.size).toBe(0);
});
