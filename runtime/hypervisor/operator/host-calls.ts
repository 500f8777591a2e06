/** The operator's calls about hosts and their fleet. */
import { SirsiError } from "../../core/errors.ts";
import type { HypervisorServiceApi } from "../service-api.ts";

export type HostCalls = Pick<HypervisorServiceApi, "listHosts" | "getHost" | "drainHost" | "undrainHost" | "moveAgent" | "getFleet">;

export function hostCalls(): HostCalls {
  const refuse = (): never => {
    throw new SirsiError("UNIMPLEMENTED", "this host is in no fleet; start it with `sirsi serve --fleet` and a [fleet] section in its configuration");
  };
  return {
    listHosts: async () => refuse(),
    getHost: async () => refuse(),
    async *drainHost() {
      yield refuse();
    },
    undrainHost: async () => refuse(),
    moveAgent: async () => refuse(),
    getFleet: async () => refuse(),
  };
}
