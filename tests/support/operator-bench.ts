/** The operator's calls on a store, shards and agents that a test writes down. */
import { create, toBinary } from "@bufbuild/protobuf";
import type { Delivery, HostEvent, Reply } from "../../runtime/agent/agents.ts";
import { GuestResultSchema, MessageCallSchema } from "../../runtime/contract/gen/sirsi/agent/v1/guest_pb.ts";
import type { GuestResult } from "../../runtime/contract/gen/sirsi/agent/v1/guest_pb.ts";
import { ManualClock } from "../../runtime/core/clock.ts";
import type { PlainError } from "../../runtime/core/errors.ts";
import { SirsiError } from "../../runtime/core/errors.ts";
import { DEFAULT_GUEST_LIMITS } from "../../runtime/core/limits.ts";
import { type OperatorCalls, operatorCalls } from "../../runtime/hypervisor/operator/operator-calls.ts";
import type { OperatorDeps } from "../../runtime/hypervisor/operator/operator-deps.ts";
import type { Revision } from "../../runtime/module/revision.ts";
import type { AgentCommit, AgentRecord, Audit, CommitEntry, DeadLetter, DeadLetterQuery, StateChain, StoredAgent } from "../../runtime/store/store.ts";
import { echo, manifest } from "./fake-agents.ts";

export const SESSION = "01900000-0000-7000-8000-000000000001";
export const AGENT = "01900000-0000-7000-8000-00000000000a";
export const NOBODY = "01900000-0000-7000-8000-0000000000ff";
export const DIGEST = "d".repeat(64);

export const REVISION: Revision = {
  digest: DIGEST,
  manifest: manifest("echo", { version: "1.2.0" }),
  limits: DEFAULT_GUEST_LIMITS,
  grants: [],
  compiled: new WebAssembly.Module(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0)),
  preparation: "p2",
  globals: [],
  canWait: true,
  uncapturable: "",
  sizeBytes: 1,
  preparedSizeBytes: 1,
  prepareTimeMs: 1,
  imports: [],
  exports: [],
};

export function record(changes: Partial<AgentRecord> = {}): AgentRecord {
  return {
    agentId: AGENT,
    sessionId: SESSION,
    module: "echo",
    digest: "e".repeat(64),
    state: "READY",
    parentAgentId: NOBODY,
    createdAt: 1_000,
    updatedAt: 2_000,
    metadata: { team: "infra" },
    config: { parameters: { a: "b" }, timeoutSeconds: 5, maxConcurrentOperations: 1, enableCaching: false, requiredCapabilities: [] },
    context: { who: "ada" },
    statusMessage: "it was tired",
    ...changes,
  };
}

export function chain(commitSequence: number, changes: Partial<StateChain> = {}): StateChain {
  return { digest: DIGEST, preparation: "p1", commitSequence, base: Uint8Array.of(1), differences: [Uint8Array.of(2), Uint8Array.of(3)], wait: null, ...changes };
}

export function commitEntry(commitSequence: number, kind: CommitEntry["kind"] = "difference"): CommitEntry {
  return { commitSequence, cause: kind === "wait" ? "wait" : "message", causeId: `m-${commitSequence}`, committedAt: 5_000 + commitSequence, digest: DIGEST, kind, imageBytes: 100 + commitSequence };
}

export function letter(deadLetterId: string, changes: Partial<DeadLetter> = {}): DeadLetter {
  const body = toBinary(MessageCallSchema, create(MessageCallSchema, { message: { messageId: "inner", content: `content of ${deadLetterId}` }, context: { k: "v" }, sourceAgentId: "" }));
  return { deadLetterId, agentId: AGENT, sessionId: SESSION, sourceAgentId: "", messageId: `m-${deadLetterId}`, reason: "GUEST_TRAP", explanation: "it trapped", attempts: 2, deadAt: 9_000, body, ...changes };
}

export const BALANCED: Audit = { agents: 1, received: 6, done: 3, deadLettered: 2, pending: 1, outbox: 4, timers: 5, findings: [] };

type Ended = { readonly kind: "failed"; readonly error: PlainError; readonly fuelUsed: number } | { readonly kind: "lost"; readonly culprit: boolean; readonly why: string };

/** What an instance of the bench answers; a test changes what it wants otherwise. */
export interface InstanceScript {
  suspended: boolean;
  open: Ended | null;
  describe: Ended | null;
  take: Ended | null;
  save: GuestResult["result"] | "waiting" | Ended;
  /** Awaited before it opens. */
  opening: Promise<void>;
}

export interface OperatorBench {
  readonly deps: OperatorDeps;
  readonly calls: OperatorCalls;
  readonly clock: ManualClock;
  readonly script: InstanceScript;
  readonly agents: Map<string, StoredAgent>;
  readonly states: Map<number, StateChain>;
  commits: CommitEntry[];
  readonly letters: Map<string, DeadLetter>;
  readonly letterQueries: DeadLetterQuery[];
  audit: Audit;
  readonly auditMax: number[];
  /** Agents of the session. */
  live: number | Promise<number>;
  /** Null while it takes work. */
  sessionClosed: SirsiError | null;
  readonly committed: AgentCommit[];
  failCommit: SirsiError | null;
  readonly opened: { readonly images: readonly number[]; readonly tag: string }[];
  /** Instances that are open now, and users of revisions. */
  readonly held: { instances: number; revisions: number };
  readonly deliveries: { readonly agentId: string; readonly delivery: Delivery }[];
  answer: (delivery: Delivery) => Promise<Reply> | Reply;
  /** Session and agent. */
  readonly adopted: [string, string][];
  readonly stopped: string[];
  readonly released: string[];
  readonly events: HostEvent[];
}

type Unwired = Omit<OperatorBench, "calls" | "deps">;

export function operatorBench(): OperatorBench {
  const clock = new ManualClock();
  const bench: Unwired = {
    clock,
    script: { suspended: false, open: null, describe: null, take: null, save: { case: "save", value: { $typeName: "sirsi.agent.v1.SaveResult", schema: 3, state: Uint8Array.of(7, 8) } }, opening: Promise.resolve() },
    agents: new Map(),
    states: new Map(),
    commits: [],
    letters: new Map(),
    letterQueries: [],
    audit: BALANCED,
    auditMax: [],
    live: 1,
    sessionClosed: null,
    committed: [],
    failCommit: null,
    opened: [],
    held: { instances: 0, revisions: 0 },
    deliveries: [],
    answer: (delivery) => echo(delivery),
    adopted: [],
    stopped: [],
    released: [],
    events: [],
  };
  put(bench, record(), 40);
  const deps: OperatorDeps = {
    store: storeOf(bench),
    pool: { open: (_revision: Revision, images: readonly Uint8Array[] | null, tag: string) => instanceOf(bench, images ?? [], tag) } as unknown as OperatorDeps["pool"],
    revisions: {
      revisionByDigest: (digest) => (digest === DIGEST ? Promise.resolve(REVISION) : Promise.reject(new SirsiError("MODULE_NOT_FOUND", `no revision ${digest}`))),
      revisionPreparedBy: (digest, preparation) => Promise.resolve(digest === DIGEST && preparation === "p2" ? REVISION : null),
      retain: () => void bench.held.revisions++,
      release: () => void bench.held.revisions--,
    },
    agents: {
      async send(agentId, delivery) {
        bench.deliveries.push({ agentId, delivery });
        return await bench.answer(delivery);
      },
      recordOf: (agentId) => Promise.resolve(bench.agents.get(agentId)?.record ?? null),
      countOf: () => bench.live,
      async adopt(sessionId, put) {
        const agentId = await put();
        bench.adopted.push([sessionId, agentId]);
        return agentId;
      },
      stop(agentId) {
        bench.stopped.push(agentId);
        return Promise.resolve();
      },
      release(agentId) {
        bench.released.push(agentId);
        return Promise.resolve();
      },
    },
    sessions: {
      requireActive: (sessionId) => (bench.sessionClosed === null ? { sessionId, userId: "ada", state: "ACTIVE", createdAt: 0, updatedAt: 0, expiresAt: 0, metadata: {}, config: { maxAgents: 3, timeoutSeconds: 0, enableLogging: false, preferences: {} } } : Promise.reject(bench.sessionClosed)),
    },
    publish: (event) => bench.events.push(event),
    clock,
    keepExchanges: 100,
    keepCommits: 64,
  };
  return Object.assign(bench, { deps, calls: operatorCalls(deps) });
}

function put(bench: Pick<OperatorBench, "agents">, of: AgentRecord, commitSequence: number): void {
  bench.agents.set(of.agentId, {
    record: of,
    epoch: 1,
    commitSequence,
    counters: { messagesProcessed: 0, operationsCompleted: 0, errorsEncountered: 0, responseTimeTotalMs: 0, lastActivityAt: 0 },
    account: { received: 0, done: 0, deadLettered: 0 },
    exchangeSequence: 0,
  });
}

function storeOf(bench: Unwired): OperatorDeps["store"] {
  return {
    getAgent: (agentId) => Promise.resolve(bench.agents.get(agentId) ?? null),
    commit(commit) {
      if (bench.failCommit !== null) return Promise.reject(bench.failCommit);
      bench.committed.push(commit);
      return Promise.resolve();
    },
    getState: (_agentId, at) => Promise.resolve(bench.states.get(Math.max(...[...bench.states.keys()].filter((sequence) => at === null || sequence <= at))) ?? null),
    listCommits: (agentId, before, limit) => Promise.resolve(agentId === AGENT ? bench.commits.filter(({ commitSequence }) => commitSequence < before).slice(0, limit) : []),
    auditAgent: (agentId) => Promise.resolve(bench.agents.has(agentId) ? bench.audit : null),
    auditHost(max) {
      bench.auditMax.push(max);
      return Promise.resolve(bench.audit);
    },
    listDeadLetters(query) {
      bench.letterQueries.push(query);
      return Promise.resolve([...bench.letters.values()]);
    },
    getDeadLetter: (id) => Promise.resolve(bench.letters.get(id) ?? null),
    dropDeadLetter: (id) => Promise.resolve(bench.letters.delete(id)),
  };
}

function instanceOf({ script, held, opened }: Unwired, images: readonly Uint8Array[], tag: string) {
  opened.push({ images: images.map(([first]) => first ?? 0), tag });
  held.instances++;
  const save = () => {
    const answer = script.save;
    if (answer === "waiting") return { kind: "waiting", request: new Uint8Array(), emits: [], state: null };
    if ("kind" in answer) return answer;
    return { kind: "done", result: toBinary(GuestResultSchema, create(GuestResultSchema, { result: answer })), emits: [], state: null, fuelUsed: 1, memoryBytes: 65_536 };
  };
  return {
    opened: script.opening.then(() => script.open ?? { kind: "opened", memoryBytes: 65_536, suspended: script.suspended }),
    handle: {
      describe: () => Promise.resolve(script.describe ?? { kind: "described", memoryBytes: 65_536, touched: [{ start: 16, length: 4 }], globals: [{ name: "sp", type: "i32", value: "-1" }], suspended: script.suspended }),
      takeState: () => Promise.resolve(script.take ?? { kind: "state", image: Uint8Array.of(9, 9) }),
      step: () => Promise.resolve(save()),
      close: () => void held.instances--,
    },
  };
}
