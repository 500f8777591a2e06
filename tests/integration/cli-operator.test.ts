/** The operator's commands against a host whose answers are written down. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { ModuleState, RevisionState } from "../../runtime/client/index.ts";
import { CannedFailure, startCannedHost } from "../support/canned-host.ts";
import type { CannedHost } from "../support/canned-host.ts";
import { cli } from "../support/cli-run.ts";

const dir = mkdtempSync(join(tmpdir(), "sirsi-cli-operator-"));
let host: CannedHost;
/** Requests of the RPC under test, in order. */
let asked: Record<string, unknown>[];

beforeAll(async () => {
  host = await startCannedHost({});
});
afterAll(async () => {
  await host[Symbol.asyncDispose]();
  rmSync(dir, { recursive: true });
});
beforeEach(() => {
  asked = [];
  host.handlers = {};
});

const run = (...argv: string[]) => cli(["--address", host.address, ...argv], { cwd: dir });

const BALANCED = { agents: 2n, received: 5n, done: 3n, pending: 1n, deadLettered: 1n, outbox: 4n, timers: 6n, balanced: true };

describe("sirsi audit", () => {
  it("says in one look that the books balance, and ends with 0", async () => {
    host.handlers.auditHost = (request) => {
      asked.push({ ...request });
      return { audit: BALANCED };
    };
    const result = await run("audit", "host", "--max-findings", "7");
    expect(result).toEqual({
      code: 0,
      stdout: "books     balanced\nagents    2\nmessages  5 received = 3 done + 1 waiting + 1 dead-lettered\noutbox    4 on their way\ntimers    6\n",
      stderr: "",
    });
    expect(asked).toMatchObject([{ maxFindings: 7 }]);
    expect((await run("audit", "host", "--quiet")).stdout).toBe("");
  });

  it("tells findings as sentences, and ends with 8 when there are any", async () => {
    const findings = [
      { agentId: "a-1", check: "account", explanation: "it received 5 messages, and 4 are done or dead" },
      { agentId: "a-1", check: "sequence", explanation: "commit 3 is missing" },
    ];
    host.handlers.auditAgent = (request) => {
      asked.push({ ...request });
      return { audit: { ...BALANCED, done: 2n, balanced: false, findings } };
    };
    const result = await run("audit", "agent", "a-1");
    expect(result.code).toBe(8);
    expect(result.stdout).toContain("books     NOT BALANCED\n");
    expect(result.stdout).toContain("5 received is not 2 done + 1 waiting + 1 dead-lettered\n");
    expect(result.stdout).toContain("\nagent a-1: it received 5 messages, and 4 are done or dead (account)\nagent a-1: commit 3 is missing (sequence)\n");
    expect(asked).toMatchObject([{ agentId: "a-1" }]);
    expect(await run("audit", "agent", "a-1", "--quiet")).toMatchObject({ code: 8, stdout: "a-1\n" });
    const json = await run("audit", "agent", "a-1", "-o", "json");
    expect([json.code, JSON.parse(json.stdout)]).toMatchObject([8, { audit: { received: "5", findings } }]);
  });

  it("of an agent that is not there ends with 3", async () => {
    host.handlers.auditAgent = () => {
      throw new CannedFailure("AGENT_NOT_FOUND", "no agent has the id a-9");
    };
    expect((await run("audit", "agent", "a-9")).code).toBe(3);
  });
});

const LETTER = {
  deadLetterId: "d-1",
  agentId: "a-1",
  sessionId: "s-1",
  messageId: "m-1",
  reason: "GUEST_TRAP",
  explanation: "it trapped: unreachable",
  attempts: 2,
  deadAt: timestampFromMs(Date.UTC(2026, 0, 2, 3, 4, 5)),
  content: "poison\u001b[31m",
};

describe("sirsi deadletter", () => {
  it("list goes back page by page as far as the limit, and shows nothing that steers the terminal", async () => {
    host.handlers.listDeadLetters = (request) => {
      asked.push({ ...request });
      const first = request.beforeId === "" ? 5_000 : Number(request.beforeId.slice(2));
      return { deadLetters: Array.from({ length: request.pageSize }, (_, i) => ({ ...LETTER, deadLetterId: `d-${first - 1 - i}` })) };
    };
    const result = await run("deadletter", "list", "--agent", "a-1", "--session", "s-1", "--limit", "1200");
    expect(asked).toMatchObject([
      { agentId: "a-1", sessionId: "s-1", beforeId: "", pageSize: 1_000 },
      { beforeId: "d-4000", pageSize: 200 },
    ]);
    expect(result.stdout.split("\n")[1]).toBe("d-4999  a-1    GUEST_TRAP  2         2026-01-02 03:04:05Z  poison\ufffd[31m");
    expect([result.stdout.split("\n").length, result.stderr]).toEqual([1_202, "there may be more; raise --limit\n"]);
  });

  it("list says when there are none", async () => {
    host.handlers.listDeadLetters = () => ({ deadLetters: [] });
    expect(await run("deadletter", "list")).toEqual({ code: 0, stdout: "no dead letters\n", stderr: "" });
  });

  it("show tells the message and why it was given up", async () => {
    host.handlers.getDeadLetter = ({ deadLetterId }) => ({ deadLetter: { ...LETTER, deadLetterId, sourceAgentId: deadLetterId === "d-2" ? "a-7" : "" } });
    expect((await run("deadletter", "show", "d-1")).stdout).toMatch(/from {6}a client\nmessage {3}m-1\nreason {4}GUEST_TRAP\nwhy {7}it trapped: unreachable\nattempts {2}2\n/);
    expect((await run("deadletter", "show", "d-2")).stdout).toContain("from      agent a-7\n");
    expect(JSON.parse((await run("deadletter", "show", "d-1", "-o", "json")).stdout)).toMatchObject({ deadLetter: { messageId: "m-1" } });
  });

  it("retry prints the reply", async () => {
    host.handlers.retryDeadLetter = (request) => {
      asked.push({ ...request });
      return { content: "42" };
    };
    expect(await run("deadletter", "retry", "d-1")).toEqual({ code: 0, stdout: "42\n", stderr: "the agent took the message; dead letter d-1 is gone\n" });
    expect(await run("deadletter", "retry", "d-1", "-q")).toEqual({ code: 0, stdout: "42\n", stderr: "" });
    expect(asked).toMatchObject([{ deadLetterId: "d-1" }, { deadLetterId: "d-1" }]);
  });

  it("retry ends with 7 when the agent answers with an error of its own, and with the failure's code when it fails again", async () => {
    host.handlers.retryDeadLetter = () => ({ errorMessage: "no such account" });
    expect(await run("deadletter", "retry", "d-1")).toMatchObject({ code: 7, stdout: "", stderr: expect.stringContaining("answered with an error: no such account; dead letter d-1 is gone") as string });
    host.handlers.retryDeadLetter = () => {
      throw new CannedFailure("AGENT_TERMINATED", "the agent has ended; drop the letter");
    };
    expect(await run("deadletter", "retry", "d-1")).toMatchObject({ code: 4, stderr: expect.stringContaining("drop the letter") as string });
  });

  it("drop says so, and ends with 3 when there is none", async () => {
    host.handlers.dropDeadLetter = () => ({});
    expect(await run("deadletter", "drop", "d-1")).toEqual({ code: 0, stdout: "", stderr: "dropped dead letter d-1\n" });
    expect((await run("deadletter", "drop", "d-1", "-o", "json")).stdout).toBe("{}\n");
    host.handlers.dropDeadLetter = () => {
      throw new CannedFailure("DEAD_LETTER_NOT_FOUND", "no dead letter has the id d-1");
    };
    expect((await run("deadletter", "drop", "d-1")).code).toBe(3);
  });
});

describe("sirsi agent history", () => {
  it("lists commits, newest first, page by page", async () => {
    host.handlers.listCommits = (request) => {
      asked.push({ ...request });
      const first = request.beforeSequence === 0n ? 3_000n : request.beforeSequence - 1n;
      const commits = Array.from({ length: request.pageSize }, (_, i) => ({ sequence: first - BigInt(i), cause: "message", causeId: "m-1", committedAt: LETTER.deadAt, digest: "3fa1c09e".repeat(8), stateKind: "difference", stateBytes: 2_048n }));
      return { commits };
    };
    const result = await run("agent", "history", "a-1", "--before", "2001", "--limit", "1001");
    expect(asked).toMatchObject([
      { agentId: "a-1", beforeSequence: 2_001n, pageSize: 1_000 },
      { agentId: "a-1", beforeSequence: 1_001n, pageSize: 1 },
    ]);
    expect(result.stdout.split("\n")[1]).toBe("2000    message  m-1  2026-01-02 03:04:05Z  3fa1c09e3fa1  difference  2.0 KiB");
    host.handlers.listCommits = () => ({ commits: [] });
    expect((await run("agent", "history", "a-1")).stdout).toBe("no commits are kept\n");
  });
});

const STATE = {
  sequence: 41n,
  digest: "3fa1c09e".repeat(8),
  moduleVersion: "1.2.0",
  memoryBytes: 131_072n,
  touched: [
    { start: 1_024n, length: 1_024n },
    { start: 65_536n, length: 10n },
  ],
  globals: [{ name: "sp", type: "i32", value: "-1" }],
  saved: { schema: 3, state: new TextEncoder().encode('{"count":41}') },
};

describe("sirsi agent inspect", () => {
  it("shows the memory map, the globals and the saved text", async () => {
    host.handlers.inspectState = (request) => {
      asked.push({ ...request });
      return STATE;
    };
    const result = await run("agent", "inspect", "a-1", "--at", "41");
    expect(asked).toMatchObject([{ agentId: "a-1", atSequence: 41n }]);
    expect(result.stdout).toBe(
      [
        "commit    41",
        "revision  1.2.0 (3fa1c09e3fa1)",
        "memory    128.0 KiB",
        "touched   1.0 KiB in 2 ranges",
        "at rest   yes",
        "",
        "FROM        TO          SIZE",
        "0x00000400  0x000007ff  1.0 KiB",
        "0x00010000  0x00010009  10 B",
        "",
        "GLOBAL  TYPE  VALUE",
        "sp      i32   -1",
        "",
        "save() gave schema 3, 12 B:",
        '{"count":41}',
        "",
      ].join("\n"),
    );
    await run("agent", "inspect", "a-1");
    expect(asked.at(-1)).toMatchObject({ atSequence: 0n });
  });

  it("--out writes the saved bytes as they are", async () => {
    const state = Uint8Array.from({ length: 300 }, (_, i) => i % 256);
    host.handlers.inspectState = () => ({ ...STATE, saved: { schema: 3, state } });
    const result = await run("agent", "inspect", "a-1", "--out", "state.bin");
    expect(result.stderr).toBe("wrote 300 B to state.bin\n");
    expect(new Uint8Array(readFileSync(join(dir, "state.bin")))).toEqual(state);
    expect(result.stdout).toContain("00000030  30 31 32 33 34 35 36 37 38 39 3a 3b 3c 3d 3e 3f  0123456789:;<=>?\n");
    expect(result.stdout).toContain("and 44 B more; --out FILE writes all\n");
    expect(await run("agent", "inspect", "a-1", "--out", "no/such/dir/state.bin")).toMatchObject({ code: 2, stderr: expect.stringContaining("cannot be written") as string });
  });

  it("of a wait says why there is nothing saved, and --out then fails", async () => {
    host.handlers.inspectState = () => ({ ...STATE, saved: undefined, suspended: true, saveError: "it was in the middle of a wait" });
    const result = await run("agent", "inspect", "a-1", "--out", "none.bin");
    expect(result).toMatchObject({ code: 1, stderr: "nothing was written to none.bin: it was in the middle of a wait\n" });
    expect(result.stdout).toContain("at rest   no: in the middle of a wait\n");
    expect(result.stdout).toContain("save() gave nothing: it was in the middle of a wait\n");
  });

  it("of a state that is no longer kept ends with 4 and says how to keep more", async () => {
    host.handlers.inspectState = () => {
      throw new CannedFailure("STATE_NOT_KEPT", "the state at commit 1 is no longer kept");
    };
    expect(await run("agent", "inspect", "a-1", "--at", "1")).toMatchObject({ code: 4, stderr: expect.stringContaining("durability.history_commits") as string });
    expect((await run("agent", "inspect", "a-1", "--at", "x")).code).toBe(2);
  });
});

describe("sirsi agent fork and release", () => {
  it("fork prints the new agent's id", async () => {
    host.handlers.forkAgent = (request) => {
      asked.push({ ...request });
      return { agentId: "a-2" };
    };
    expect(await run("agent", "fork", "a-1", "--at", "41")).toEqual({ code: 0, stdout: "a-2\n", stderr: 'next: sirsi agent send a-2 "hello"\n' });
    expect(await run("agent", "fork", "a-1", "-q")).toEqual({ code: 0, stdout: "a-2\n", stderr: "" });
    expect(asked).toMatchObject([{ agentId: "a-1", atSequence: 41n }, { atSequence: 0n }]);
  });

  it("release says that the agent works again", async () => {
    host.handlers.releaseAgent = (request) => {
      asked.push({ ...request });
      return {};
    };
    expect(await run("agent", "release", "a-1")).toEqual({ code: 0, stdout: "", stderr: "agent a-1 works again\n" });
    expect(asked).toMatchObject([{ agentId: "a-1" }]);
  });
});

describe("sirsi module inspect", () => {
  const revision = (manifest: object, uncapturable = "") => ({ digest: "3fa1c09e".repeat(8), module: "echo", version: "1.2.0", state: RevisionState.ACTIVE, manifestJson: JSON.stringify(manifest), uncapturable });
  const shown = async (manifest: object, recoveryDifferences: number, uncapturable = "") => {
    const active = revision(manifest, uncapturable);
    host.handlers.getModule = () => ({ module: { name: "echo", state: ModuleState.ACTIVE, active, revisions: [active] }, recoveryDifferences });
    return (await run("module", "inspect", "echo")).stdout;
  };

  it("tells what the module's agents can count on", async () => {
    const text = await shown({ durability: "wait", restart: "transient", supervision: "rest_for_one" }, 31);
    expect(text).toContain("durability   wait: each step is committed before it is seen, and each wait with its stack\n");
    expect(text).toContain("recovery     reads one base and at most 31 differences, and a wait\n");
    expect(text).toContain("checkpoint   holds the whole state\n");
    expect(text).toContain("restart      transient: ");
    expect(text).toContain("supervision  rest_for_one: ");
    expect(await shown({ durability: "message" }, 1)).toContain("reads one base and at most 1 difference\n");
  });

  it("says why a state cannot be captured, and knows no more than a manifest of another version tells", async () => {
    const text = await shown({ durability: "none", restart: "sometimes" }, 0, "it grows a table");
    expect(text).toContain("recovery     nothing to read: no state is kept\n");
    expect(text).toContain("checkpoint   cannot hold the state: it grows a table\n");
    expect(text).toContain("restart      sometimes\nsupervision  -\n");
  });
});
