export { HEALTH_SERVICES, openGrpcGateway, type GrpcGateway, type GrpcGatewayOptions, type HealthService } from "./grpc-gateway.ts";
export type { Compression } from "./wire.ts";
