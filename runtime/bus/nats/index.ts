export { openNatsBus, type NatsBus } from "./nats-bus.ts";
export type { NatsBusOptions, NatsLogin, NatsTls } from "./nats-options.ts";
export { openJetStreamEvents, type JetStreamEvents, type JetStreamEventsOptions } from "./jetstream-events.ts";
