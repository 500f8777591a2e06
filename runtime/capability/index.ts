/** What guests may ask of the host. */
export { type Asker, type AskTarget, type Capabilities, type CapabilityConfig, openCapabilities } from "./capabilities.ts";
