/**
 * Keeps this host's modules the same as the fleet's, and the fleet's the same as what
 * operators make of any host's.
 *
 * What the fleet runs is one row for each module, with a generation that rises with each
 * change. Of each row this host remembers what came of it here (its standing). So when its
 * active revision is another than the row's, it can tell why:
 *
 *   the row is newer than the standing        another host changed it: it is taken here
 *   the active revision is not the standing's somebody changed it here: the row becomes this
 *   neither                                   this host did not keep it, and says so
 *
 * Invariants
 * - F1 The store has a revision's bytes before any agent can be on it (revision-archive.ts),
 *   so an agent is at home wherever it comes to memory.
 * - F2 A revision becomes the fleet's when its swap was kept on the host where it came, or
 *   there was nothing to swap. Of two that come at once the row's compare and set decides:
 *   the loser takes the winner's.
 * - F3 While a host rolls a revision out (roll-out.ts), the others wait for their turn. When
 *   it is gone, or done, they go by the row alone.
 * - F4 While a module is being tried here, nothing is concluded about it.
 * - F5 At joining, the fleet's revision replaces this host's; a module that the fleet never
 *   had becomes the fleet's.
 */
import { create } from "@bufbuild/protobuf";
import type { Bus } from "../../bus/bus.ts";
import { type ModuleAnswer, ModuleAnswerSchema, type ModuleQuestion, ModuleQuestionSchema } from "../../contract/gen/sirsi/fleet/v1/fleet_pb.ts";
import type { Clock, Timer } from "../../core/clock.ts";
import { SirsiError } from "../../core/errors.ts";
import type { Fleet } from "../../fleet/fleet.ts";
import type { FleetModuleView } from "../../fleet/fleet-operator.ts";
import { SerialLanes } from "../../module/serial-lanes.ts";
import type { ModuleRegistry } from "../../module/index.ts";
import type { Logger } from "../../observe/index.ts";
import type { FleetModule, FleetStore, HostEntry } from "../../store/fleet-store.ts";
import type { SwapRecord } from "../../store/store.ts";
import type { SwapChoices, Swaps } from "../swap/swaps.ts";
import { type AskModule, RollOut } from "./roll-out.ts";
import { type Manner, Taking, type TakingGround, type Verdict } from "./taking.ts";

export interface FleetModulesGround {
  readonly clock: Clock;
  readonly log: Logger;
  readonly store: Pick<FleetStore, "getModuleBytes" | "listFleetModules" | "putFleetModule" | "putModuleBytes">;
  readonly modules: TakingGround["modules"] & Pick<ModuleRegistry, "bytesOf" | "dateBy" | "subscribe">;
  readonly swaps: TakingGround["swaps"] & Pick<Swaps, "onOver">;
  /** For revisions that this host takes unasked. */
  readonly choices: SwapChoices;
  readonly fleet: Pick<Fleet, "self" | "hosts" | "onChange">;
  readonly bus: Pick<Bus, "publish" | "subscribe">;
  /** Of subjects. */
  readonly prefix: string;
  readonly ask: AskModule;
}

interface Standing {
  readonly generation: number;
  /** What the row said. */
  readonly digest: string | null;
  /** What was active here when it was dealt with. */
  readonly active: string | null;
  /** It was kept, or refused. */
  readonly decided: boolean;
  /** When every host had it, as far as is known; null for when this one had; Infinity while some have not. */
  readonly evenSince: number | null;
}

interface Take {
  readonly generation: number;
  readonly verdict: Promise<Verdict>;
}

const LOOK_EVERY_MS = 10_000;
/** An asker hears within this time, if only that it is under way. */
const ANSWER_WITHIN_MS = 2_000;
const NOTHING = new Uint8Array(0);

export class FleetModules {
  readonly #ground: FleetModulesGround;
  readonly #taking: Taking;
  readonly #rows = new Map<string, FleetModule>();
  readonly #standings = new Map<string, Standing>();
  readonly #takes = new Map<string, Take>();
  readonly #rollOuts = new Map<string, RollOut>();
  /** How the newest swap of a module that was kept here was made. */
  readonly #kept = new Map<string, SwapRecord>();
  readonly #lanes = new SerialLanes();
  #undo: (() => void)[] = [];
  #timer: Timer | null = null;
  #lookAsked = false;
  #closed = false;

  constructor(ground: FleetModulesGround) {
    this.#ground = ground;
    this.#taking = new Taking(ground);
    ground.modules.dateBy((module, digest) => this.#evenSince(module, digest));
  }

  /** For homing: agents made before this on another revision belong on the active one. */
  #evenSince(module: string, digest: string): number | null {
    const standing = this.#standings.get(module);
    return standing?.digest === digest ? standing.evenSince : null;
  }

  // --- joining and leaving -------------------------------------------------------------

  /**
   * F5. Resolves when this host's modules are the fleet's, or the log says why not; from
   * then on changes go both ways. Before the host takes agents, and after its own swaps
   * have begun. Again after it joined again. STORE_UNAVAILABLE.
   */
  async join(): Promise<void> {
    this.#mute();
    this.#standings.clear();
    await this.#refresh();
    await Promise.all([...this.#rows.values()].map((row) => this.#adopt(row)));
    if (this.#closed) return;
    this.#listen();
    await this.#lookNow();
  }

  async #adopt(row: FleetModule): Promise<void> {
    const { log } = this.#ground;
    const { module, digest, generation, changedAt } = row;
    const here = this.#taking.activeDigest(module);
    const settled = this.#taking.isSettledOn(module, digest);
    const evenSince = (await this.#isRolledOut(row)) ? Infinity : changedAt;
    this.#standings.set(module, { generation, digest, active: here, decided: settled, evenSince: settled && evenSince !== Infinity ? null : evenSince });
    if (settled) return;
    if (here !== null) log.warn({ module, here, fleet: digest }, "the fleet runs another revision of a module than this host's file holds, and it replaces it; to make the file's the fleet's, use `sirsi module install`");
    try {
      const verdict = await this.#begin(row, { force: true });
      if (verdict.kind !== "kept") log.error({ module, digest, reason: verdict.reason }, "this host does not run what the fleet runs of a module");
    } catch (thrown) {
      const error = SirsiError.from(thrown);
      if (error.code === "STORE_UNAVAILABLE" || error.code === "SHUTTING_DOWN") throw error;
      log.error({ module, digest, err: error.message }, "this host cannot take what the fleet runs of a module");
    }
  }

  #listen(): void {
    const { bus, fleet, modules, swaps } = this.#ground;
    const notices = bus.subscribe(this.#subject, () => this.#look());
    this.#undo = [
      () => notices.close(),
      fleet.onChange(() => this.#look()),
      modules.subscribe((event) => {
        if (event.kind !== "candidate") this.#settleSoon(event.module);
      }),
      swaps.onOver((record) => {
        if (record.state === "KEPT") this.#kept.set(record.module, record);
        this.#settleSoon(record.module);
      }),
    ];
    this.#arm();
  }

  get #subject(): string {
    return `${this.#ground.prefix}.fleet.modules`;
  }

  #arm(): void {
    this.#timer = this.#ground.clock.after(LOOK_EVERY_MS, () => {
      this.#arm();
      this.#look();
    });
  }

  #mute(): void {
    this.#timer?.cancel();
    for (const undo of this.#undo.splice(0)) undo();
  }

  /** No roll-out takes a further turn; the others go by the fleet's rows then. Repeatable. */
  close(): void {
    this.#closed = true;
    this.#mute();
    for (const rollOut of this.#rollOuts.values()) rollOut.stop();
  }

  // --- looking -------------------------------------------------------------------------

  #look(): void {
    if (this.#lookAsked) return;
    this.#lookAsked = true;
    void this.#quietly(
      "looking at the fleet's modules",
      this.#lanes.run("look", async () => {
        this.#lookAsked = false;
        await this.#lookNow();
      }),
    );
  }

  async #lookNow(): Promise<void> {
    await this.#refresh();
    const names = new Set([...this.#rows.keys(), ...this.#ground.modules.list().map(({ name }) => name)]);
    await Promise.all([...names].map((module) => this.#settleInTurn(module)));
  }

  async #refresh(): Promise<void> {
    const self = this.#ground.fleet.self.name;
    for (const row of await this.#ground.store.listFleetModules()) {
      const known = this.#rows.get(row.module);
      if (known !== undefined && known.generation >= row.generation) continue;
      this.#rows.set(row.module, row);
      if (row.changedBy !== self) this.#rollOuts.get(row.module)?.stop();
    }
  }

  async #quietly(what: string, work: Promise<unknown>): Promise<void> {
    try {
      await work;
    } catch (thrown) {
      if (!this.#closed) this.#ground.log.warn({ err: SirsiError.from(thrown).message }, `${what} failed; it is tried again soon`);
    }
  }

  // --- one module ----------------------------------------------------------------------

  #settleSoon(module: string): void {
    void this.#quietly(`bringing module ${module} and the fleet's together`, this.#settleInTurn(module));
  }

  #settleInTurn(module: string): Promise<void> {
    return this.#lanes.run(`module:${module}`, () => this.#settle(module));
  }

  async #settle(module: string): Promise<void> {
    if (this.#closed || module === "" || this.#takes.has(module) || this.#ground.swaps.trying(module) !== null) return; // F4
    const row = this.#rows.get(module);
    const active = this.#taking.activeDigest(module);
    if (row === undefined) return active === null ? undefined : await this.#publish(module, active, null);
    const standing = this.#standings.get(module);
    if (active === row.digest) return await this.#agree(row, standing);
    if (standing === undefined || standing.generation < row.generation) return await this.#follow(row, standing);
    if (active !== standing.active) return await this.#publish(module, active, row);
    if (!standing.decided) await this.#follow(row, standing);
  }

  async #agree(row: FleetModule, standing: Standing | undefined): Promise<void> {
    const { module, digest, generation } = row;
    let evenSince = standing?.generation === generation ? standing.evenSince : null;
    if (evenSince === Infinity && !(await this.#isRolledOut(row))) evenSince = this.#ground.clock.now();
    this.#standings.set(module, { generation, digest, active: digest, decided: true, evenSince });
  }

  /** F3 */
  async #follow(row: FleetModule, standing: Standing | undefined): Promise<void> {
    if (await this.#isRolledOut(row)) return;
    const { module, digest, changedBy } = row;
    const here = this.#taking.activeDigest(module);
    if (standing !== undefined && standing.generation < row.generation && here !== standing.active) {
      this.#ground.log.warn({ module, here, fleet: digest, changedBy }, "another host changed the module before this one could: the fleet's revision is taken; install again what is still wanted");
    }
    void this.#quietly(`taking the fleet's revision of module ${module}`, this.#begin(row, {}));
  }

  /** Whether a host asks the others in turn to take this row. */
  async #isRolledOut({ module, changedBy }: FleetModule): Promise<boolean> {
    const { ask, fleet } = this.#ground;
    if (changedBy === fleet.self.name) return this.#rollOuts.has(module);
    const host = fleet.hosts.find(({ name }) => name === changedBy);
    if (host === undefined) return false;
    try {
      return (await ask(host.hostId, create(ModuleQuestionSchema, { module, look: true }))).rolling;
    } catch {
      return false;
    }
  }

  /** One take for each generation. */
  #begin(row: FleetModule, how: Partial<Omit<Manner, "isWanted">>): Promise<Verdict> {
    const { module, generation, digest } = row;
    const going = this.#takes.get(module);
    if (going?.generation === generation) return going.verdict;
    const active = this.#taking.activeDigest(module);
    const before = this.#standings.get(module);
    this.#standings.set(module, { generation, digest, active, decided: false, evenSince: before?.generation === generation ? before.evenSince : Infinity });
    const isWanted = () => !this.#closed && this.#rows.get(module)?.generation === generation;
    const verdict = this.#taking.take(row, { choices: this.#ground.choices, back: null, ...how, force: how.force ?? going !== undefined, isWanted }).then((found) => {
      const standing = this.#standings.get(module);
      if (standing?.generation === generation) this.#standings.set(module, { ...standing, active: found.kind === "kept" ? digest : active, decided: found.kind !== "waits" });
      return found;
    });
    const take: Take = { generation, verdict };
    this.#takes.set(module, take);
    const end = (found: Verdict | null) => {
      if (this.#takes.get(module) === take) this.#takes.delete(module);
      // What waits, or could not be tried, is tried again at the next look.
      const decided = found !== null && found.kind !== "waits";
      if (decided || this.#rows.get(module)?.generation !== generation) this.#settleSoon(module);
    };
    verdict.then(end, () => end(null));
    return verdict;
  }

  // --- changes that begin here ---------------------------------------------------------

  /** F2 */
  async #publish(module: string, active: string | null, row: FleetModule | null): Promise<void> {
    const { bus, clock, fleet, log, modules, store } = this.#ground;
    const view = this.#taking.view(module);
    if (active !== null) {
      const bytes = await modules.bytesOf(active);
      if (bytes === null) throw new SirsiError("STORE_CORRUPT", `the bytes of revision ${active.slice(0, 12)} of module ${module} are not kept on this host; install it again`);
      await store.putModuleBytes(active, bytes);
    }
    const next: FleetModule = { module, digest: active, file: view?.file ?? row?.file ?? "", version: view?.active?.manifest.version ?? row?.version ?? "", generation: (row?.generation ?? 0) + 1, changedAt: clock.now(), changedBy: fleet.self.name };
    if (!(await store.putFleetModule(next))) return this.#look();
    log.info({ module, digest: active, generation: next.generation }, active === null ? "a module was removed here, and is by the other hosts" : "a module's revision is kept here, and goes to the other hosts");
    this.#rows.set(module, next);
    this.#standings.set(module, { generation: next.generation, digest: active, active, decided: true, evenSince: Infinity });
    this.#rollOut(next, row);
    bus.publish(this.#subject, NOTHING);
  }

  #rollOut(row: FleetModule, before: FleetModule | null): void {
    const { module, digest } = row;
    this.#rollOuts.get(module)?.stop();
    const kept = this.#kept.get(module);
    const rollOut = new RollOut(
      {
        ...this.#ground,
        goBack: (back, from, reason) => this.#goBack(back, from, reason),
        waiting: (reason) => this.#ground.modules.remark(module, reason === "" ? null : new SirsiError("MODULE_PENDING_APPROVAL", `revision ${digest?.slice(0, 12) ?? ""} serves here, and its roll-out to the other hosts waits: ${reason}`)),
      },
      { row, before, choices: kept?.toDigest === digest ? kept : null },
    );
    this.#rollOuts.set(module, rollOut);
    const done = () => {
      if (this.#rollOuts.get(module) === rollOut) this.#rollOuts.delete(module);
      if (this.#closed) return;
      this.#ground.bus.publish(this.#subject, NOTHING);
      this.#settleSoon(module);
    };
    const running = rollOut.run().then((end) => this.#ground.log.info({ module, digest, end }, "a module's roll-out has ended"));
    void this.#quietly(`rolling out module ${module}`, running.finally(done));
  }

  async #goBack(row: FleetModule, from: string | null, reason: string): Promise<void> {
    this.#rows.set(row.module, row);
    this.#ground.bus.publish(this.#subject, NOTHING);
    await this.#quietly(`going back with module ${row.module}`, this.#begin(row, { back: { from, reason } }));
  }

  // --- what other hosts and operators ask ----------------------------------------------

  /** Of another host. */
  async answer(question: ModuleQuestion): Promise<ModuleAnswer> {
    const { module, look } = question;
    if (module === "") return create(ModuleAnswerSchema, { activeDigests: this.#activeDigests() });
    const verdict = look ? null : await this.#answerTake(question);
    return create(ModuleAnswerSchema, {
      activeDigest: this.#taking.activeDigest(module) ?? "",
      rolling: this.#rollOuts.has(module),
      underWay: verdict === "under way",
      ...(verdict !== null && verdict !== "under way" && verdict.kind !== "kept" ? { [verdict.kind]: verdict.reason } : {}),
    });
  }

  async #answerTake({ module, digest, revert, reason, canaryPercent, watchMs, hasWatchMs }: ModuleQuestion): Promise<Verdict | "under way"> {
    await this.#refresh();
    const row = this.#rows.get(module);
    if (row === undefined || (row.digest ?? "") !== digest) return { kind: "waits", reason: "the fleet runs another revision by now" };
    const standing = this.#standings.get(module);
    const active = this.#taking.activeDigest(module);
    if (standing?.generation === row.generation && !this.#takes.has(module) && active !== standing.active && active !== row.digest) {
      return { kind: "waits", reason: "the module was changed there meanwhile" };
    }
    const { choices } = this.#ground;
    const asked = hasWatchMs ? { canaryPercent: canaryPercent || choices.canaryPercent, watchMs: Number(watchMs) } : choices;
    const back = revert ? { from: standing?.digest ?? null, reason } : null;
    return await this.#within(ANSWER_WITHIN_MS, this.#begin(row, { choices: asked, back }));
  }

  #within(ms: number, verdict: Promise<Verdict>): Promise<Verdict | "under way"> {
    return new Promise((resolve, reject) => {
      const timer = this.#ground.clock.after(ms, () => resolve("under way"));
      verdict.then(resolve, reject).finally(() => timer.cancel());
    });
  }

  #activeDigests(): Record<string, string> {
    return Object.fromEntries(this.#ground.modules.list().flatMap(({ name, active }) => (active === null ? [] : [[name, active.digest]])));
  }

  /** For GetFleet. Hosts that cannot be asked are left out of what differs. */
  async describe(): Promise<FleetModuleView[]> {
    const { store } = this.#ground;
    const [rows, hosts] = await Promise.all([store.listFleetModules(), this.#activeEverywhere()]);
    return rows.map(({ module, digest, version, generation }) => {
      const differingHosts = hosts.filter(({ active }) => (active[module] ?? "") !== (digest ?? "")).map(({ name }) => name);
      return { module, digest, version, generation, differingHosts };
    });
  }

  async #activeEverywhere(): Promise<{ readonly name: string; readonly active: Readonly<Record<string, string>> }[]> {
    const { ask, fleet } = this.#ground;
    const question = create(ModuleQuestionSchema, {});
    const asked = this.#others().map(async ({ hostId, name }) => {
      const answer = await ask(hostId, question).catch(() => null);
      return answer === null ? [] : [{ name, active: answer.activeDigests }];
    });
    const found = [{ name: fleet.self.name, active: this.#activeDigests() }, ...(await Promise.all(asked)).flat()];
    return found.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  #others(): readonly HostEntry[] {
    const { self, hosts } = this.#ground.fleet;
    return hosts.filter(({ name }) => name !== self.name);
  }

  /** For whoever changed a module here: what happens elsewhere. Empty when this host is alone. */
  saysOfOthers(): string {
    const names = this.#others().map(({ name }) => name);
    if (names.length === 0) return "";
    return `when it is kept here the other hosts take it in turn (${names.join(", ")}); \`sirsi fleet status\` tells how far it is, and when one of them does not keep it all go back`;
  }
}
