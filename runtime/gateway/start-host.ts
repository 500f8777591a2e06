/** A host with its doors: gRPC, HTTP, and NATS when it is in a fleet. What `sirsi serve` runs. */
import { type Config, formatAddress } from "../config/index.ts";
import { Deferred } from "../core/deferred.ts";
import { type Host, openHost } from "../hypervisor/host.ts";
import { type GrpcGateway, HEALTH_SERVICES, openGrpcGateway } from "./grpc/index.ts";
import { type HostDescription, type HttpGateway, openHttpGateway } from "./http/index.ts";
import { type NatsGateway, openNatsGateway } from "./nats/index.ts";

export interface RunningHost {
  /** host:port, as bound. */
  readonly grpcAddress: string;
  readonly httpAddress: string;
  /** Drains for at most the configured time, then closes. Repeatable. */
  close(): Promise<void>;
  /** Settles when it has closed, however that came. */
  readonly closed: Promise<void>;
}

/** Resolves when the host listens and has looked at itself once; /readyz and gRPC health tell whether it is ready. */
export async function startHost(config: Config, version: string): Promise<RunningHost> {
  const host = await openHost(config, version);
  let grpc: GrpcGateway | null = null;
  let http: HttpGateway | null = null;
  let nats: NatsGateway | null = null;
  try {
    const status = () => host.status();
    grpc = await openGrpcGateway({
      listen: config.grpc.listen,
      agentService: host.agentService,
      hypervisorService: host.hypervisorService,
      status,
      limits: config.hostLimits,
      clock: host.clock,
      log: host.log,
      metrics: host.metrics,
      channelz: config.grpc.channelz,
      compression: config.grpc.compression,
    });
    const grpcAddress = formatAddress(grpc.address);
    http = await openHttpGateway({ listen: config.http.listen, status, metrics: host.metrics, log: host.log, describe: () => describe(host, version, grpcAddress) });
    host.listens({ grpcAddress, httpAddress: formatAddress(http.address) });
    followReadiness(host, grpc);
    await host.start();
    nats = natsDoor(config, host);
    return running(host, { grpc, http, nats }, config.grpc.drainTimeoutMs);
  } catch (thrown) {
    await nats?.close();
    await http?.close();
    await grpc?.close();
    await host.close();
    throw thrown;
  }
}

/** Null when nobody else is on the host's bus. */
function natsDoor(config: Config, host: Host): NatsGateway | null {
  const { agentService, clock, fleetSide, log, metrics, modules } = host;
  return fleetSide === null ? null : openNatsGateway({ ...fleetSide, agentService, clock, limits: config.hostLimits, log, metrics, modules });
}

function followReadiness(host: Host, grpc: GrpcGateway): void {
  host.onReadiness((notReady) => {
    for (const service of HEALTH_SERVICES) grpc.setServing(service, notReady === "" ? "SERVING" : "NOT_SERVING");
  });
}

function describe(host: Host, version: string, grpcAddress: string): HostDescription {
  const agentTypes = host.modules.list().flatMap(({ active }) =>
    active === null ? [] : [{ typeId: active.manifest.name, displayName: active.manifest.displayName, version: active.manifest.version, description: active.manifest.description }],
  );
  return { version, grpcAddress, agentTypes };
}

interface Doors {
  readonly grpc: GrpcGateway;
  readonly http: HttpGateway;
  readonly nats: NatsGateway | null;
}

function running(host: Host, { grpc, http, nats }: Doors, graceMs: number): RunningHost {
  const closed = new Deferred<void>();
  let closing: Promise<void> | null = null;
  const close = async (): Promise<void> => {
    host.log.info({ graceMs }, "the host is shutting down");
    // Calls in hand go on while their agents finish; new ones are refused from here on.
    await Promise.all([grpc.drain(graceMs), nats?.drain(graceMs), host.drain(graceMs)]);
    await nats?.close();
    await http.close();
    await host.close();
    host.log.info("the host has closed");
  };
  return {
    grpcAddress: formatAddress(grpc.address),
    httpAddress: formatAddress(http.address),
    closed: closed.promise,
    close() {
      closing ??= close().finally(() => closed.resolve());
      return closing;
    },
  };
}
