/** The ledger, as built, against the crash tests' model: they must agree before anything is killed. */
import { beforeAll, describe, expect, it } from "vitest";
import { Model, NO_EFFECTS, type Effects } from "../crash/model.ts";
import { readReport } from "../crash/report.ts";
import { bookedBy, readReply, writeCommand, type Command } from "../crash/commands.ts";
import { LedgerBuilds, SOUND } from "../crash/ledger-builds.ts";
import { BUILD_TIMEOUT_MS } from "../support/built-agents.ts";
import { Guest, type ResponseInput } from "../support/guest.ts";

const LEDGERS = [{ name: "a0", agentId: "id-0" }, { name: "a1", agentId: "id-1" }];

let builds: LedgerBuilds;

beforeAll(async () => {
  builds = await LedgerBuilds.open();
}, BUILD_TIMEOUT_MS);

/** Two ledgers in this process: asks go at once, told messages and timers when `deliver` is called. */
class World {
  readonly model = new Model(LEDGERS);
  readonly guests: Map<string, Guest>;
  readonly documents = new Map<string, Uint8Array>();
  readonly #sequences = new Map<string, number>();

  constructor(kind: "one" | "two" = "one") {
    const module = new WebAssembly.Module(Buffer.from(builds.make(kind).wasm));
    this.guests = new Map(LEDGERS.map(({ name, agentId }) => [agentId, this.#guest(module, name, agentId)]));
  }

  #guest(module: WebAssembly.Module, name: string, agentId: string): Guest {
    const guest = new Guest(module, {
      request: ({ request }): ResponseInput => {
        if (request.case === "ask") return { response: { case: "ask", value: this.guests.get(request.value.agentId)!.message(request.value.message!, {}) } };
        if (request.case === "getDocument") return { response: { case: "getDocument", value: { found: this.#seen(guest).has(request.value.key), content: this.#seen(guest).get(request.value.key) ?? new Uint8Array() } } };
        return { response: { case: "sleep", value: {} } };
      },
    });
    guest.init({ agentId, config: { parameters: { name, ballast_words: "64" } } });
    return guest;
  }

  /** Documents with what the step in hand has written. */
  #seen(guest: Guest): Map<string, Uint8Array> {
    const seen = new Map(this.documents);
    for (const { emit } of guest.emitted) {
      if (emit.case === "document") seen.set(emit.value.key, emit.value.content);
      if (emit.case === "deleteDocument") seen.delete(emit.value.key);
    }
    return seen;
  }

  send(ledger: 0 | 1, lane: string, command: Command): void {
    const { name, agentId } = LEDGERS[ledger]!;
    const sequence = (this.#sequences.get(`${lane}/${name}`) ?? 0) + 1;
    this.#sequences.set(`${lane}/${name}`, sequence);
    const content = writeCommand(command, lane, sequence, (target) => LEDGERS.find((one) => one.name === target)!.agentId);
    const reply = this.guests.get(agentId)!.message(content).response!.content;
    expect(this.model.booked(bookedBy(command, lane, name, sequence, readReply(reply)!))).toEqual([]);
    this.deliver();
  }

  deliver(): void {
    for (const [agentId, guest] of this.guests) {
      const timers = new Map<string, Uint8Array>();
      for (const { emit } of guest.emitted.splice(0)) {
        if (emit.case === "message") this.guests.get(emit.value.agentId)!.message(emit.value.message!, {});
        if (emit.case === "timer") timers.set(emit.value.timerId, emit.value.payload);
        if (emit.case === "cancelTimer") timers.delete(emit.value.timerId);
        if (emit.case === "document") this.documents.set(emit.value.key, emit.value.content);
        if (emit.case === "deleteDocument") this.documents.delete(emit.value.key);
      }
      for (const [timerId, payload] of timers) this.guests.get(agentId)!.call({ case: "timer", value: { timerId, payload } });
    }
  }

  reports() {
    return new Map(LEDGERS.map(({ name, agentId }) => [name, readReport(this.guests.get(agentId)!.message(`report ${this.model.verified(name)}`).response!.content)]));
  }
}

const EVERY: readonly (readonly [0 | 1, string, Command])[] = [
  [0, "l0", { kind: "add", amount: 7 }],
  [0, "l0", { kind: "transfer", amount: 3, to: { ledger: "a1", number: 1 }, how: "host" }],
  [0, "l1", { kind: "transfer", amount: 4, to: { ledger: "a1", number: 1 }, how: "own" }],
  [0, "l0", { kind: "chain", amount: 2, pauseMs: 1, to: [{ ledger: "a1", number: 2 }, { ledger: "a1", number: 3 }] }],
  [1, "l0", { kind: "tell", amount: 5, ledger: "a0" }],
  [1, "l1", { kind: "tell", amount: 6, ledger: "a1" }],
  [1, "l1", { kind: "sleep", durationMs: 4 }],
  [0, "l1", { kind: "remind", amount: 9, delayMs: 3, number: 1 }],
  [0, "l1", { kind: "note", key: "notes/a0/1", value: 11 }],
  [0, "l1", { kind: "note", key: "notes/a0/2", value: 12 }],
  [0, "l0", { kind: "note", key: "notes/a0/1", value: -1 }],
];

describe.each(SOUND.map((kind) => [kind as "one" | "two"]))("a ledger of build %s", (kind) => {
  it("does every command as the model expects", () => {
    const world = new World(kind);
    for (const [ledger, lane, command] of EVERY) world.send(ledger, lane, command);
    expect(world.model.check(world.reports())).toEqual([]);
    expect([...world.documents.keys()]).toEqual(["notes/a0/2"]);
    expect([...world.model.notes()]).toEqual([["notes/a0/1", null], ["notes/a0/2", 12]]);
  });

  it("goes on in the other build after save and load, and back", () => {
    const world = new World(kind);
    for (const other of [kind === "one" ? "two" : "one", kind] as const) {
      for (let i = 0; i < 40; i++) world.send(0, "l5", { kind: "add", amount: i });
      const next = new World(other);
      for (const [agentId, guest] of world.guests) {
        const saved = guest.save();
        expect(next.guests.get(agentId)!.load(saved.schema, saved.state).case).toBe("done");
        world.guests.set(agentId, next.guests.get(agentId)!);
      }
      expect(world.model.check(world.reports())).toEqual([]);
    }
  });
});

describe("what the model must see in a real ledger", () => {
  const effects: Effects = { ...NO_EFFECTS };

  it("a command done twice, and one done out of its turn", () => {
    const world = new World();
    world.send(0, "l0", { kind: "add", amount: 7 });
    world.guests.get("id-0")!.message("add l0 1 7");
    expect(world.model.check(world.reports()).map(({ what }) => what)).toEqual(expect.arrayContaining(["anomaly", "doubled", "sum"]));
  });

  it("a command that was acknowledged and is not there", () => {
    const world = new World();
    world.model.booked({ ledger: "a0", sender: "l0", sequence: 1, kind: "add", amount: 7, position: 1, hash: "0", effects });
    expect(world.model.check(world.reports()).map(({ what }) => what)).toEqual(expect.arrayContaining(["lost", "sum", "numbers"]));
  });

  it("a state whose memory came back wrong", () => {
    const world = new World();
    for (let i = 0; i < 10; i++) world.send(0, "l0", { kind: "add", amount: 1 });
    const memory = new Uint32Array(world.guests.get("id-0")!.exports.memory.buffer);
    const slot = (position: number) => (position * 7919) & 63;
    const base = memory.findIndex((_word, i) => [1, 2, 3, 4, 5, 6, 7, 8, 9, 10].every((position) => memory[i + slot(position)] === position));
    expect(base).toBeGreaterThan(0);
    memory[base + slot(3)] = 99;
    expect(world.reports().get("a0")!.anomalies[0]).toMatch(/ballast has 99 for position 3/);
  });
});

describe("a build with something wrong", () => {
  const saved = () => {
    const world = new World();
    world.send(0, "l0", { kind: "add", amount: 1 });
    return world.guests.get("id-0")!.save();
  };
  const guest = (kind: "ref" | "trp" | "sik") => {
    const made = new Guest(new WebAssembly.Module(Buffer.from(builds.make(kind).wasm)));
    made.init({ config: { parameters: { name: "a0" } } });
    return made;
  };

  it("refuses, traps, or is sick, as its name says; and every build has a digest of its own", () => {
    const { schema, state } = saved();
    expect(guest("ref").load(schema, state).case).toBe("error");
    expect(() => guest("trp").load(schema, state)).toThrow(/traps in load/);
    const sick = guest("sik");
    expect(sick.load(schema, state).case).toBe("done");
    for (let n = 2; n <= 6; n++) sick.message(`add l0 ${n} 1`);
    expect(() => sick.message("add l0 7 1")).toThrow(/this build is sick/);
    const [first, second] = [builds.make("one"), builds.make("one")];
    expect(first.digest).not.toBe(second.digest);
    expect(builds.kindOf(second.digest)).toBe("one");
  });
});
