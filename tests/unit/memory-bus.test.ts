import { describe, expect, it } from "vitest";
import { openMemoryBus } from "../../runtime/bus/memory/index.ts";
import { DeliveryQueue } from "../../runtime/bus/memory/delivery-queue.ts";
import { ManualClock } from "../../runtime/core/clock.ts";
import type { SirsiError } from "../../runtime/core/errors.ts";
import { busContract } from "../support/bus-contract.ts";

function open() {
  const clock = new ManualClock();
  const reported: { error: SirsiError; subject: string }[] = [];
  const bus = openMemoryBus({ clock, onError: (error, subject) => void reported.push({ error, subject }) });
  return { bus, clock, reported, dispose: () => bus.close() };
}

busContract("the in-process bus", async () => open());

describe("the in-process bus", () => {
  it("spreads a queue's messages evenly, subject by subject interleaved", async () => {
    const { bus } = open();
    const counts = [0, 0, 0];
    for (const member of counts.keys()) {
      bus.subscribe("work.*", () => void (counts[member]! += 1), { queue: "team" });
    }
    for (let n = 0; n < 300; n++) bus.publish(`work.${n % 3}`, new Uint8Array(0));
    await bus.flush();
    expect(counts).toEqual([100, 100, 100]);
  });

  it("lets timers and sockets have their turn while handlers answer each other without end", async () => {
    const { bus } = open();
    let bounces = 0;
    let playing = true;
    for (const [from, to] of [["ping", "pong"], ["pong", "ping"]] as const) {
      bus.subscribe(from, () => {
        bounces += 1;
        if (playing) bus.publish(to, new Uint8Array(0));
      });
    }
    bus.publish("ping", new Uint8Array(0));
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
    playing = false;
    await bus.flush();
    expect(bounces).toBeGreaterThan(1_000);
  });

  it("rejects a flush that is under way when it is closed", async () => {
    const { bus } = open();
    const flushed = bus.flush();
    await bus.close();
    await expect(flushed).rejects.toMatchObject({ code: "BUS_UNAVAILABLE" });
  });

  it("shares one copy of the data among the receivers of a message", async () => {
    const { bus } = open();
    const seen: Uint8Array[] = [];
    for (let n = 0; n < 2; n++) bus.subscribe("a", (message) => void seen.push(message.data));
    bus.publish("a", Uint8Array.of(1));
    await bus.flush();
    expect(seen[0]).toBe(seen[1]);
  });
});

describe("a delivery queue", () => {
  it("runs what was pushed in order, over many turns", async () => {
    const queue = new DeliveryQueue();
    const ran: number[] = [];
    const last = new Promise<void>((resolve) => {
      for (let n = 0; n < 2_000; n++) queue.push(() => void ran.push(n));
      queue.push(resolve);
    });
    await last;
    expect(ran).toEqual(Array.from({ length: 2_000 }, (_, n) => n));
  });
});
