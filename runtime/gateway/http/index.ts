export { openHttpGateway, type HttpGateway, type HttpGatewayOptions } from "./http-gateway.ts";
export type { HostDescription } from "./status-page.ts";
