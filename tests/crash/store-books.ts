/**
 * The books, computed from the tables themselves with nothing of the host but the names of
 * columns. At rest it reads a copy: opening the database is what the next host is to do first.
 */
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { fromBinary } from "@bufbuild/protobuf";
import { GuestEmitSchema } from "../../runtime/contract/gen/sirsi/agent/v1/guest_pb.ts";
import type { Ledger } from "./commands.ts";
import type { Violation } from "./model.ts";
import type { LiveBooks } from "./verify.ts";

const FILE = "sirsi.db";

type Row = Readonly<Record<string, unknown>>;

interface SwapRow {
  readonly state: string;
  readonly moved: number;
  readonly kept: number;
  readonly failed: number;
  readonly reverted: number;
  readonly pauseMaxMs: number;
}

export interface SwapBooks {
  readonly states: Readonly<Record<string, number>>;
  readonly moved: number;
  readonly kept: number;
  readonly failed: number;
  readonly reverted: number;
  /** Of each swap's longest pause. */
  readonly pauseP50Ms: number;
  readonly pauseMaxMs: number;
}

/** One agent's rows. */
interface Books {
  readonly agent: Row;
  readonly states: readonly Row[];
  readonly exchanges: readonly Row[];
  readonly wait: Row | null;
}

export class StoreBooks implements LiveBooks {
  readonly #dataDir: string;
  readonly #names: ReadonlyMap<string, string>;
  /** What an agent had come to at the last look: nothing goes back. */
  readonly #before = new Map<string, { readonly sequence: number; readonly epoch: number; readonly done: number }>();

  constructor(dataDir: string, ledgers: readonly Ledger[]) {
    this.#dataDir = dataDir;
    this.#names = new Map(ledgers.map(({ name, agentId }) => [agentId, name]));
  }

  /** Only while no host runs. */
  checkAtRest(): Violation[] {
    const copy = mkdtempSync(join(tmpdir(), "sirsi-crash-books-"));
    try {
      for (const name of [FILE, `${FILE}-wal`]) if (existsSync(join(this.#dataDir, name))) copyFileSync(join(this.#dataDir, name), join(copy, name));
      const db = new DatabaseSync(join(copy, FILE));
      try {
        return this.#check(db);
      } finally {
        db.close();
      }
    } finally {
      rmSync(copy, { recursive: true, force: true });
    }
  }

  #check(db: DatabaseSync): Violation[] {
    const violations: Violation[] = [];
    const wrong = (ledger: string, what: string, expected: string, found: string) => violations.push({ what: `store: ${what}`, ledger, expected, found });
    const integrity = db.prepare("PRAGMA quick_check").all().map((row) => String(row["quick_check"])).join("; ");
    if (integrity !== "ok") wrong("all", "integrity", "ok", integrity);
    const strays = db.prepare("PRAGMA foreign_key_check").all();
    if (strays.length > 0) wrong("all", "references", "none without its parent", JSON.stringify(strays.slice(0, 3)));
    for (const [agentId, name] of this.#names) {
      const books = booksOf(db, agentId);
      if (books === null) wrong(name, "agent", "a row", "none");
      else this.#checkAgent(agentId, books, (what, expected, found) => wrong(name, what, expected, found));
    }
    const counted = "SELECT module, digest, count(*) AS agents FROM agents WHERE state <> 'TERMINATED' GROUP BY module, digest";
    const off = db.prepare(`SELECT * FROM (${counted}) AS c FULL JOIN (SELECT * FROM live_agents WHERE agents <> 0) AS l USING (module, digest) WHERE c.agents IS NOT l.agents`).all();
    if (off.length > 0) wrong("all", "live agents", "as many as there are, by revision", JSON.stringify(off));
    this.#checkOutbox(db, wrong);
    for (const letter of db.prepare("SELECT * FROM dead_letters WHERE source_agent_id <> ''").all()) {
      wrong(this.#nameOf(letter["agent_id"]), "dead letter", "no message between agents given up", `${String(letter["message_id"])}: ${String(letter["reason"])} ${String(letter["explanation"])}`);
    }
    return violations;
  }

  #checkAgent(agentId: string, { agent, states, exchanges, wait }: Books, wrong: (what: string, expected: string, found: string) => void): void {
    const number = (name: string) => Number(agent[name]);
    const [sequence, epoch, done] = [number("commit_sequence"), number("epoch"), number("done")];
    const pending = wait !== null && wait["message_id"] !== "" ? 1 : 0;
    if (number("received") !== done + number("dead_lettered") + pending) wrong("account", `received = done + dead-lettered + pending`, `${number("received")} = ${done} + ${number("dead_lettered")} + ${pending}`);
    if (agent["state"] !== "READY") wrong("state", "READY", `${String(agent["state"])}: ${String(agent["status_message"])}`);
    checkExchanges(agent, exchanges, wrong);
    checkStates(agent, states, wait, wrong);
    // Its code is what a host must have to bring it back, be the revision active, on trial or superseded.
    const digest = String(agent["digest"]);
    if (digestOf(join(this.#dataDir, "revisions", `${digest}.wasm`)) !== digest) wrong("revision", `the kept bytes of ${digest}`, "none, or others");
    const before = this.#before.get(agentId);
    if (before !== undefined && (sequence < before.sequence || epoch < before.epoch || done < before.done)) wrong("went back", JSON.stringify(before), JSON.stringify({ sequence, epoch, done }));
    this.#before.set(agentId, { sequence, epoch, done });
  }

  /** An entry goes with the commit that takes it: one whose message was taken must not be there. */
  #checkOutbox(db: DatabaseSync, wrong: (ledger: string, what: string, expected: string, found: string) => void): void {
    const rows = db.prepare("SELECT o.*, a.agent_id, p.commit_sequence FROM outbox o JOIN agents a USING (agent_key) JOIN agent_progress p USING (agent_key)").all();
    const taken = db.prepare("SELECT e.sequence FROM exchanges e JOIN agents a USING (agent_key) WHERE a.agent_id = ? AND e.message_id = ?");
    for (const row of rows) {
      const sender = String(row["agent_id"]);
      const key = `${this.#nameOf(sender)} ${String(row["sequence"])}/${String(row["place"])}`;
      if (Number(row["sequence"]) > Number(row["commit_sequence"])) wrong(this.#nameOf(sender), "outbox", `an entry of a commit up to ${String(row["commit_sequence"])}`, key);
      if (row["kind"] !== "message") continue;
      if (!this.#names.has(String(row["target"]))) wrong(this.#nameOf(sender), "outbox", "a receiver that is known", String(row["target"]));
      const { emit } = fromBinary(GuestEmitSchema, row["body"] as Uint8Array);
      const own = emit.case === "message" ? (emit.value.message?.messageId ?? "") : "";
      const messageId = own === "" ? `out-${sender}-${String(row["sequence"])}-${String(row["place"])}` : own;
      if (taken.get(String(row["target"]), messageId) !== undefined) wrong(this.#nameOf(row["target"]), "outbox", `${messageId} to be gone from its sender's outbox, or not taken`, `both, at ${key}`);
    }
  }

  #nameOf(agentId: unknown): string {
    return this.#names.get(String(agentId)) ?? String(agentId);
  }

  #live<T>(read: (db: DatabaseSync) => T): T {
    const db = new DatabaseSync(join(this.#dataDir, FILE), { readOnly: true, timeout: 2_000 });
    try {
      return read(db);
    } finally {
      db.close();
    }
  }

  /** How swaps ended, by state, and the longest pauses that they report. */
  swaps(): SwapBooks {
    return this.#live((db) => {
      const records = db.prepare("SELECT record FROM swaps").all().map((row) => JSON.parse(String(row["record"])) as SwapRow);
      const states: Record<string, number> = {};
      for (const { state } of records) states[state] = (states[state] ?? 0) + 1;
      const pauses = records.filter(({ moved }) => moved > 0).map(({ pauseMaxMs }) => pauseMaxMs).toSorted((a, b) => a - b);
      const sum = (name: "moved" | "kept" | "failed" | "reverted") => records.reduce((total, record) => total + record[name], 0);
      return { states, moved: sum("moved"), kept: sum("kept"), failed: sum("failed"), reverted: sum("reverted"), pauseP50Ms: Math.round(pauses[pauses.length >> 1] ?? 0), pauseMaxMs: Math.round(pauses.at(-1) ?? 0) };
    });
  }

  digests(): ReadonlyMap<string, string> {
    return this.#live((db) => new Map(db.prepare("SELECT agent_id, digest FROM agents").all().map((row) => [String(row["agent_id"]), String(row["digest"])])));
  }

  checkDocuments(notes: ReadonlyMap<string, number | null>): Violation[] {
    const rows = this.#live((db) => db.prepare("SELECT key, bytes FROM documents").all());
    const found = new Map(rows.map((row) => [String(row["key"]), Buffer.from(row["bytes"] as Uint8Array).toString()]));
    const violations: Violation[] = [];
    for (const [key, value] of notes) {
      const text = value === null ? undefined : String(value);
      if (found.get(key) !== text) violations.push({ what: "document", ledger: key, expected: text ?? "none", found: found.get(key) ?? "none" });
      found.delete(key);
    }
    for (const key of found.keys()) violations.push({ what: "document", ledger: key, expected: "none: nobody wrote it", found: found.get(key) ?? "" });
    return violations;
  }
}

function digestOf(file: string): string {
  return existsSync(file) ? createHash("sha256").update(readFileSync(file)).digest("hex") : "";
}

function booksOf(db: DatabaseSync, agentId: string): Books | null {
  const agent = db.prepare("SELECT * FROM agents JOIN agent_progress USING (agent_key) WHERE agent_id = ?").get(agentId);
  if (agent === undefined) return null;
  const key = Number(agent["agent_key"]);
  return {
    agent,
    states: db.prepare("SELECT s.sequence, s.kind, s.cause, b.digest, length(s.image) AS bytes FROM states s JOIN builds b USING (build_key) WHERE s.agent_key = ? ORDER BY s.sequence").all(key),
    exchanges: db.prepare("SELECT sequence, message_id FROM exchanges WHERE agent_key = ? ORDER BY sequence").all(key),
    wait: db.prepare("SELECT sequence, message_id FROM waits WHERE agent_key = ?").get(key) ?? null,
  };
}

/** Every message that was done has its row, each id once; ids are kept for longer than a run. */
function checkExchanges(agent: Row, exchanges: readonly Row[], wrong: (what: string, expected: string, found: string) => void): void {
  const done = Number(agent["done"]);
  const ids = new Set(exchanges.map((row) => row["message_id"]));
  if (ids.size !== exchanges.length) wrong("exchanges", "each message id once", `${exchanges.length - ids.size} twice`);
  if (exchanges.length !== done || Number(agent["exchange_sequence"]) !== done) wrong("exchanges", `${done}, for as many messages done`, `${exchanges.length}, and the last is number ${String(agent["exchange_sequence"])}`);
  const gap = exchanges.findIndex((row, index) => Number(row["sequence"]) !== index + 1);
  if (gap >= 0) wrong("exchanges", `number ${gap + 1}`, `number ${String(exchanges[gap]?.["sequence"])}`);
}

/** D6 and S2: a base to begin with, of the agent's revision, and a wait only at the very end. */
function checkStates(agent: Row, states: readonly Row[], wait: Row | null, wrong: (what: string, expected: string, found: string) => void): void {
  const newest = states.findLastIndex((row) => row["kind"] === "base");
  const tail = states.slice(Math.max(0, newest));
  const last = tail.at(-1);
  if (newest < 0 || last === undefined) {
    wrong("states", "a base", "none");
    return;
  }
  if (Number(last["sequence"]) > Number(agent["commit_sequence"])) wrong("states", `no state after commit ${String(agent["commit_sequence"])}`, `one of ${String(last["sequence"])}`);
  const strange = tail.find((row) => row["digest"] !== agent["digest"]);
  if (strange !== undefined) wrong("states", `states of the agent's revision ${String(agent["digest"]).slice(0, 12)}`, `one of ${String(strange["digest"]).slice(0, 12)} at ${String(strange["sequence"])}`);
  if (wait === null) return;
  const state = tail.find((row) => row["sequence"] === wait["sequence"]);
  if (state?.["kind"] !== "wait" || state !== last || Number(wait["sequence"]) !== Number(agent["commit_sequence"])) {
    wrong("wait", `its state to be the newest, of commit ${String(agent["commit_sequence"])}`, `${String(state?.["kind"])} at ${String(wait["sequence"])}, the newest is ${String(last["kind"])} at ${String(last["sequence"])}`);
  }
}
