/** A node of Moleculer with one service, which gives back what it is called with. */
import { ServiceBroker } from "moleculer";
import { answerParent } from "./bench-child.ts";

answerParent(async ({ servers }: { readonly servers: string }): Promise<null> => {
  const broker = new ServiceBroker({ nodeID: "bench-node", transporter: { type: "NATS", options: { url: servers } }, logger: false });
  broker.createService({ name: "bench", actions: { echo: ({ params }: { readonly params: unknown }) => params } });
  await broker.start();
  return null;
});
