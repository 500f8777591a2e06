export { openNatsBus, type NatsBus, type NatsBusCounts } from "./nats-bus.ts";
export type { NatsBusOptions, NatsLogin, NatsTls } from "./nats-options.ts";
