/** Everything that outlives a host: directories, sessions, ledgers, clients, model. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ClientError } from "../../runtime/client/index.ts";
import { SirsiError } from "../../runtime/core/errors.ts";
import type { Ledger } from "./commands.ts";
import type { Disk } from "./disk.ts";
import { Draw } from "./draw.ts";
import { Gate } from "./gate.ts";
import { HostLine } from "./host-line.ts";
import { HostUnderTest } from "./host-under-test.ts";
import { Lane } from "./lane.ts";
import { type BuildKind, type LedgerBuild, LedgerBuilds } from "./ledger-builds.ts";
import { Model, type Violation } from "./model.ts";
import { FIXED_SETTINGS } from "./schedule.ts";
import { StoreBooks } from "./store-books.ts";
import { MODULE, Swapper } from "./swapper.ts";
import type { Tally } from "./tally.ts";
import { Verifier } from "./verify.ts";

/** Words of ballast of the ledgers, in turn: from none to a megabyte. */
export const BALLAST_WORDS = [256, 262_144, 0, 16_384];
const CALL_DEADLINE_MS = 20_000;

export interface Stage extends AsyncDisposable {
  readonly dataDir: string;
  readonly modulesDir: string;
  readonly disk: Disk;
  readonly line: HostLine;
  readonly gate: Gate;
  readonly lanes: readonly Lane[];
  readonly swapper: Swapper;
  readonly verifier: Verifier;
  readonly books: StoreBooks;
  readonly violations: Violation[];
}

export interface StageOptions {
  readonly directory: string;
  readonly disk: Disk;
  readonly seed: number;
  readonly agents: number;
  readonly clients: number;
  readonly tally: Tally;
  /** Revisions that hosts have prepared from the beginning. */
  readonly warm: readonly BuildKind[];
}

export async function openStage({ directory, disk, seed, agents, clients, tally, warm }: StageOptions): Promise<Stage> {
  const builds = await LedgerBuilds.open();
  const first = builds.make("one");
  const dataDir = join(directory, "data");
  const modulesDir = join(directory, "modules");
  for (const made of [dataDir, modulesDir]) mkdirSync(made, { recursive: true });
  writeFileSync(join(modulesDir, `${MODULE}.wasm`), first.wasm);
  const { sessionId, ledgers } = await createLedgers(dataDir, modulesDir, agents, warm.map((kind) => builds.make(kind)));
  const violations: Violation[] = [];
  const onViolation = (violation: Violation) => void violations.push(violation);
  const [model, line, gate, stop] = [new Model(ledgers), new HostLine(), new Gate(clients), new AbortController()];
  const swapper = new Swapper(builds, first, tally, onViolation);
  const run = `s${seed}`;
  const lanes = Array.from({ length: clients }, (_, i) => `l${i}`).map(
    (name) => new Lane({ name, sessionId, ledgers, draw: new Draw(seed, `lane ${name}`), model, line, callDeadlineMs: CALL_DEADLINE_MS, gate, tally, stop: stop.signal, run, sick: () => swapper.sick, onViolation }),
  );
  const running = lanes.map((lane) => lane.run());
  const books = new StoreBooks(dataDir, ledgers);
  return {
    dataDir,
    modulesDir,
    disk,
    line,
    gate,
    lanes,
    swapper,
    verifier: new Verifier({ model, builds, sessionId, ledgers, books, run }),
    books,
    violations,
    async [Symbol.asyncDispose]() {
      stop.abort();
      gate.open();
      line.connect("127.0.0.1:1");
      await Promise.all(running);
      line.disconnect();
      disk[Symbol.dispose]();
    },
  };
}

/** With a host of its own, that nothing befalls. */
async function createLedgers(dataDir: string, modulesDir: string, agents: number, warm: readonly LedgerBuild[]): Promise<{ readonly sessionId: string; readonly ledgers: readonly Ledger[] }> {
  const host = new HostUnderTest({ dataDir, modulesDir, fault: null, settings: FIXED_SETTINGS });
  const line = new HostLine();
  try {
    const ready = await host.ready;
    if (ready === null) throw new SirsiError("INTERNAL", `the first host did not start; its log:\n${host.log.slice(-4_000)}`);
    line.connect(ready.address);
    const client = await line.client();
    const { session } = await client.agents.createSession({ userId: "crash", config: { timeoutSeconds: 30 * 86_400 } });
    const sessionId = session?.sessionId ?? "";
    const ledgers: Ledger[] = [];
    for (let i = 0; i < agents; i++) {
      const parameters = { name: `a${i}`, ballast_words: String(BALLAST_WORDS[i % BALLAST_WORDS.length]) };
      const { agent } = await client.agents.createAgent({ sessionId, agentType: MODULE, config: { parameters } });
      ledgers.push({ name: `a${i}`, agentId: agent?.agentId ?? "" });
    }
    for (const { wasm } of warm) await client.modules.installModule({ wasm, validateOnly: true }, { deadlineMs: 60_000 });
    return { sessionId, ledgers };
  } catch (thrown) {
    throw new SirsiError("INTERNAL", `the ledgers could not be created (${ClientError.from(thrown).message}); the host's log:\n${host.log.slice(-4_000)}`, { cause: thrown });
  } finally {
    line.disconnect();
    await host.kill();
  }
}
