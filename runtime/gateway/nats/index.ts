export { AgentSubjects, type AgentSubjectsConfig } from "./agent-subjects.ts";
export { openNatsGateway, type NatsGateway, type NatsGatewayOptions } from "./nats-gateway.ts";
