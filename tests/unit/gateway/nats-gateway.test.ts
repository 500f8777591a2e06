/** The NATS gateway on the bus inside of a process. */
import { expect } from "vitest";
import { openMemoryBus } from "../../../runtime/bus/memory/index.ts";
import { systemClock } from "../../../runtime/core/clock.ts";
import type { SirsiError } from "../../../runtime/core/errors.ts";
import { natsGatewayContract } from "../../support/nats-gateway-contract.ts";
import { natsModulesContract } from "../../support/nats-modules-contract.ts";

const open = async () => {
  const faults: SirsiError[] = [];
  const bus = openMemoryBus({ clock: systemClock, onError: (error) => void faults.push(error) });
  const dispose = async () => {
    await bus.close();
    expect(faults).toEqual([]);
  };
  return { host: async () => bus, client: bus, dispose };
};

natsGatewayContract("a NATS gateway on the memory bus", open);
natsModulesContract("modules as services on the memory bus", open);
