/** What guests may ask of the host. */
export { type Asker, type AskTarget, type Capabilities, type CapabilityConfig, openCapabilities, requireGrant, type RequestTraits } from "./capabilities.ts";
export { documentKeyFault, type DocumentWrites } from "./documents.ts";
