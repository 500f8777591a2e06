/** All parts of the benchmark, in the order in which they run. */
import { admissionSection } from "./admission-section.ts";
import { checkpointSection } from "./checkpoint-section.ts";
import { dispatchSection } from "./dispatch-section.ts";
import { durableSection } from "./durable-section.ts";
import { fleetSection } from "./fleet-section.ts";
import { messageSection } from "./message-section.ts";
import { meteringSection } from "./metering-section.ts";
import { natsSection } from "./nats-section.ts";
import { pagingSection } from "./paging-section.ts";
import { registeredSection } from "./registered-section.ts";
import { residentsSection } from "./residents-section.ts";
import { restartSection } from "./restart-section.ts";
import type { Section } from "./section.ts";
import { spawnSection } from "./spawn-section.ts";
import { storeSection } from "./store-section.ts";
import { swapSection } from "./swap-section.ts";

export const SECTIONS: readonly Section[] = [
  spawnSection,
  messageSection,
  dispatchSection,
  durableSection,
  residentsSection,
  meteringSection,
  swapSection,
  checkpointSection,
  storeSection,
  pagingSection,
  registeredSection,
  restartSection,
  natsSection,
  fleetSection,
  admissionSection,
];
