/** Answers requests on a subject with their own bytes, and does nothing else: what NATS itself costs. */
import { connect } from "nats";
import { answerParent } from "./bench-child.ts";

interface Ask {
  readonly servers: string;
  readonly user?: string;
  readonly pass?: string;
  readonly subject: string;
}

answerParent(async ({ subject, ...login }: Ask): Promise<null> => {
  const connection = await connect(login);
  connection.subscribe(subject, {
    callback: (error, message) => {
      if (error === null) message.respond(message.data);
    },
  });
  await connection.flush();
  return null;
});
