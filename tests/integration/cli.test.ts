import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { AgentState, HealthStatus, MessageType, ModuleState, SwapState, Priority, RevisionState, SessionState, SuggestionType } from "../../runtime/client/index.ts";
import { Deferred } from "../../runtime/core/deferred.ts";
import { CannedFailure, startCannedHost } from "../support/canned-host.ts";
import type { CannedHost } from "../support/canned-host.ts";
import { cli, startCli } from "../support/cli-run.ts";
import type { CliOptions } from "../support/cli-run.ts";

const dir = mkdtempSync(join(tmpdir(), "sirsi-cli-"));
let host: CannedHost;
/** Every request that arrived, by its RPC. */
let asked: Record<string, unknown>;

beforeAll(async () => {
  host = await startCannedHost({});
});
afterAll(async () => {
  await host[Symbol.asyncDispose]();
  rmSync(dir, { recursive: true });
});
beforeEach(() => {
  asked = {};
  host.calls.length = 0;
  host.handlers = {};
});

const SESSION = { sessionId: "s-1", userId: "ada", state: SessionState.ACTIVE, expiresAt: timestampFromMs(Date.UTC(2026, 0, 1)), config: { maxAgents: 5 }, metadata: { team: "infra" } };
const AGENT = { agentId: "a-1", sessionId: "s-1", agentType: "echo", state: AgentState.READY, moduleVersion: "1.2.0", moduleDigest: "3fa1c09e".repeat(8), metadata: { k: "v" } };
const REVISION = { digest: "3fa1c09e".repeat(8), module: "echo", version: "1.2.0", state: RevisionState.ACTIVE, sizeBytes: 10_240n, preparedSizeBytes: 11_000n, prepareTimeMs: 12, manifestJson: '{"displayName":"Echo","description":"Says it again"}', imports: ["sirsi.log (func)"], exports: ["memory (memory)"] };
const MODULE = { name: "echo", state: ModuleState.ACTIVE, active: REVISION, revisions: [REVISION], liveAgents: 2, file: "echo.wasm" };
const SUGGESTION = { suggestionId: "g-1", title: "Tag it", description: "No tags.\nNone.", type: SuggestionType.WARNING, confidence: 0.9, priority: 2, action: { actionType: "terraform", command: "add tags" } };

const run = (argv: string[], options: CliOptions = {}) => cli(["--address", host.address, ...argv], { cwd: dir, ...options });
const inSession = (argv: string[], options: CliOptions = {}) => run([...argv, "--session", "s-1"], options);

describe("sirsi session", () => {
  it("create opens one as asked, shows it and says what next", async () => {
    host.handlers.createSession = (request) => {
      asked = { ...request };
      return { session: { ...SESSION, userProfile: { displayName: "Ada L." } }, availableAgentTypes: [{ typeId: "echo" }, { typeId: "aws" }] };
    };
    const result = await run(["session", "create", "--user", "ada", "--name", "Ada L.", "--lifetime", "2h", "--max-agents", "5", "--context", "team=infra"]);
    expect(asked).toMatchObject({ userId: "ada", context: { team: "infra" }, config: { timeoutSeconds: 7_200, maxAgents: 5 }, userProfile: { displayName: "Ada L." } });
    expect(result).toMatchObject({ code: 0, stderr: expect.stringMatching(/next: sirsi agent create TYPE --session s-1 .*echo, aws/) as string });
    expect(result.stdout).toMatch(/^session {5}s-1\nuser {8}ada \(Ada L\.\)\nstate {7}ACTIVE\n/);
  });

  it("create --quiet prints the id alone", async () => {
    host.handlers.createSession = () => ({ session: SESSION });
    expect(await run(["session", "create", "-q"])).toEqual({ code: 0, stdout: "s-1\n", stderr: "" });
  });

  it("list goes over as many pages as the limit needs", async () => {
    host.handlers.listSessions = ({ pageToken, pageSize, states }) => {
      asked = { states };
      const first = Number(pageToken || 0);
      return { sessions: Array.from({ length: Math.min(pageSize, 2) }, (_, i) => ({ ...SESSION, sessionId: `s-${first + i}` })), nextPageToken: String(first + 2) };
    };
    const result = await run(["session", "list", "--all", "--limit", "3"]);
    expect(result.stdout.split("\n").slice(0, 4).map((line) => line.split(/\s{2,}/)[0])).toEqual(["SESSION", "s-0", "s-1", "s-2"]);
    expect(result.stderr).toContain("raise --limit");
    expect(asked["states"]).toHaveLength(4);
  });

  it("show, extend and delete name their session", async () => {
    host.handlers.getSession = () => ({ session: SESSION, activeAgents: [AGENT] });
    host.handlers.extendSession = (request) => {
      asked = { ...request };
      return { session: SESSION };
    };
    host.handlers.deleteSession = () => ({});
    expect((await run(["session", "show", "s-1"])).stdout).toContain("a-1    echo  READY");
    expect((await run(["session", "extend", "s-1", "--by", "1h"])).code).toBe(0);
    expect(asked).toMatchObject({ sessionId: "s-1", extendSeconds: 3_600 });
    expect(await run(["session", "delete", "s-1"])).toMatchObject({ code: 0, stdout: "", stderr: expect.stringContaining("ended session s-1") as string });
    expect((await run(["session", "delete"])).code).toBe(2);
  });
});

describe("the session of a command", () => {
  beforeEach(() => {
    host.handlers.getAgent = (request) => {
      asked = { ...request };
      return { agent: AGENT, metrics: { messagesProcessed: 7n } };
    };
  });

  it("is the one named, else the variable's, else the only active one, and is then told", async () => {
    host.handlers.listSessions = () => ({ sessions: [SESSION] });
    await run(["agent", "show", "a-1", "--session", "s-9"], { env: { SIRSI_SESSION: "s-8" } });
    expect(asked["sessionId"]).toBe("s-9");
    await run(["agent", "show", "a-1"], { env: { SIRSI_SESSION: "s-8" } });
    expect(asked["sessionId"]).toBe("s-8");
    const alone = await run(["agent", "show", "a-1"]);
    expect([asked["sessionId"], alone.stderr]).toEqual(["s-1", "using session s-1, the only active one\n"]);
    expect(alone.stdout).toContain("messages      7");
  });

  it("is asked for when there is none or more than one", async () => {
    host.handlers.listSessions = () => ({ sessions: [] });
    expect(await run(["agent", "show", "a-1"])).toMatchObject({ code: 2, stderr: expect.stringContaining("sirsi session create") as string });
    host.handlers.listSessions = () => ({ sessions: [SESSION, SESSION] });
    expect(await run(["agent", "show", "a-1"])).toMatchObject({ code: 2, stderr: expect.stringContaining("several sessions are open") as string });
  });
});

describe("sirsi agent", () => {
  it("types lists what active modules provide", async () => {
    host.handlers.listModules = () => ({ modules: [MODULE, { name: "broken", state: ModuleState.FAILED }, { ...MODULE, name: "odd", active: { ...REVISION, manifestJson: "{" } }] });
    expect((await run(["agent", "types"])).stdout).toBe("TYPE  VERSION  NAME  DESCRIPTION\necho  1.2.0    Echo  Says it again\nodd   1.2.0    -     -\n");
  });

  it("create passes everything on", async () => {
    host.handlers.createAgent = (request) => {
      asked = { ...request };
      return { agent: AGENT };
    };
    const result = await inSession(["agent", "create", "echo@1.2.0", "--param", "a=1", "--param", "b=2", "--context", "c=3", "--metadata", "d=4", "--parent", "a-0"]);
    expect(asked).toMatchObject({ sessionId: "s-1", agentType: "echo@1.2.0", config: { parameters: { a: "1", b: "2" } }, context: { c: "3" }, metadata: { d: "4" }, parentAgentId: "a-0" });
    expect(result.stdout).toContain("type        echo@1.2.0\nrevision    3fa1c09e3fa1\n");
    expect(result.stderr).toContain("next: sirsi agent send a-1");
  });

  it("list filters at the host, and as JSON is the response message", async () => {
    host.handlers.listAgents = (request) => {
      asked = { ...request };
      return { agents: [AGENT], totalSize: 1 };
    };
    const result = await inSession(["agent", "list", "--filter", 'state == "READY"', "-o", "json"]);
    expect(asked["filter"]).toBe('state == "READY"');
    expect(JSON.parse(result.stdout)).toMatchObject({ agents: [{ agentId: "a-1", state: "AGENT_STATE_READY" }], totalSize: 1 });
    expect((await inSession(["agent", "list"])).stdout).toMatch(/^AGENT {2}TYPE {2}STATE {2}CREATED {2}METADATA\na-1 {4}echo {2}READY {2}- {8}k=v\n$/);
  });

  it("list says that there is more", async () => {
    host.handlers.listAgents = () => ({ agents: [AGENT], totalSize: 9, nextPageToken: "more" });
    expect((await inSession(["agent", "list", "--limit", "1"])).stderr).toContain("1 of 9; raise --limit");
  });

  it("status, suggest and delete", async () => {
    host.handlers.getAgentStatus = () => ({ status: { state: AgentState.ERROR, statusMessage: "trapped", statusDetails: { restarts: "2" } }, healthStatus: "degraded", metrics: { errorsEncountered: 3n, averageResponseTimeMs: 1.25 }, activeCapabilities: [{ capabilityId: "say" }] });
    host.handlers.getSuggestions = (request) => {
      asked = { ...request };
      return { suggestions: [{ ...SUGGESTION, priority: 4, title: "Later" }, SUGGESTION] };
    };
    host.handlers.deleteAgent = () => ({});
    expect((await inSession(["agent", "status", "a-1"])).stdout).toMatch(/state {10}ERROR\nhealth {9}degraded\nmessage {8}trapped\n[^]*errors {8}3\naverage time {2}1\.3 ms/);
    const suggestions = await inSession(["agent", "suggest", "a-1", "--about", "cost", "--data", "k=v", "--tag", "x", "--tag", "y", "--max", "3"]);
    expect(asked).toMatchObject({ context: { contextType: "cost", contextData: { k: "v" }, tags: ["x", "y"] }, maxSuggestions: 3 });
    expect(suggestions.stdout).toMatch(/^1\. Tag it \(warning, priority 2, 90 % sure\)\n {3}No tags\.\n {3}None\.\n {3}terraform: add tags\n2\. Later/);
    expect((await inSession(["agent", "delete", "a-1"])).stderr).toContain("ended agent a-1");
    host.handlers.getSuggestions = () => ({});
    expect((await inSession(["agent", "suggest", "a-1"])).stdout).toBe("no suggestions\n");
  });
});

describe("sirsi agent send", () => {
  beforeEach(() => {
    host.handlers.sendMessage = (request) => {
      asked = { ...request };
      return { messageId: request.message?.messageId ?? "", response: { content: `heard ${request.message?.content ?? ""}\u001b[31m` } };
    };
  });

  it("sends words as text under a new id and prints the reply, made harmless", async () => {
    const result = await inSession(["agent", "send", "a-1", "hello", "there"]);
    expect(asked).toMatchObject({ agentId: "a-1", message: { type: MessageType.TEXT, content: "hello there", messageId: expect.stringMatching(/^[0-9a-f-]{36}$/) as string } });
    expect(result).toEqual({ code: 0, stdout: "heard hello there\u{fffd}[31m\n", stderr: "" });
  });

  it("takes text from standard input", async () => {
    await inSession(["agent", "send", "a-1", "-"], { stdin: "line 1\nline 2\n" });
    expect(asked).toMatchObject({ message: { content: "line 1\nline 2\n" } });
  });

  it("passes id, type, priority, metadata and time on, and attaches files", async () => {
    writeFileSync(join(dir, "infra.tfstate"), "{}");
    writeFileSync(join(dir, "blob"), "xyz");
    await inSession(["agent", "send", "a-1", "--id", "m-1", "--type", "query", "--priority", "high", "--metadata", "k=v", "--timeout", "90s", "--attach", "infra.tfstate", "--attach", "blob:text/x-odd", "--attach", "blob"]);
    expect(asked).toMatchObject({
      message: {
        messageId: "m-1",
        type: MessageType.QUERY,
        metadata: { k: "v" },
        attachments: [
          { name: "infra.tfstate", mimeType: "application/json", sizeBytes: 2n, content: { case: "data", value: Buffer.from("{}") } },
          { name: "blob", mimeType: "text/x-odd", sizeBytes: 3n },
          { mimeType: "application/octet-stream" },
        ],
      },
      options: { priority: Priority.HIGH, timeoutSeconds: 90 },
    });
  });

  it("prints suggestions and attachments, and tells a recorded reply", async () => {
    host.handlers.sendMessage = () => ({ messageId: "m-1", replayed: true, response: { content: "ok", attachments: [{ name: "r.csv", mimeType: "text/csv", sizeBytes: 2_048n }] }, suggestions: [SUGGESTION] });
    const result = await inSession(["agent", "send", "a-1", "x", "--id", "m-1"]);
    expect(result.stdout).toMatch(/^ok\nattached: r\.csv \(text\/csv, 2\.0 KiB\)\n\n1\. Tag it/);
    expect(result.stderr).toContain("recorded reply to m-1");
  });

  it("is refused without anything to send or with a file that is not there", async () => {
    expect((await inSession(["agent", "send", "a-1"])).code).toBe(2);
    expect(await inSession(["agent", "send", "a-1", "--attach", "missing.json"])).toMatchObject({ code: 2, stderr: expect.stringContaining("missing.json cannot be read") as string });
    expect((await inSession(["agent", "send", "a-1", "x", "--priority", "urgent"])).code).toBe(2);
    expect(host.calls).toEqual([]);
  });

  it("ends with 7 when the agent fails, 6 when it is late, 130 when it is interrupted", async () => {
    host.handlers.sendMessage = () => {
      throw new CannedFailure("GUEST_TRAP", "unreachable at index.ts:3");
    };
    expect(await inSession(["agent", "send", "a-1", "x"])).toMatchObject({ code: 7, stderr: expect.stringMatching(/error: unreachable at index\.ts:3\n {2}why: {2}GUEST_TRAP: .*\n {2}next: Report/) as string });
    const arrived = new Deferred<void>();
    host.handlers.sendMessage = () => {
      arrived.resolve();
      return new Promise(() => undefined);
    };
    expect((await inSession(["agent", "send", "a-1", "x", "--timeout", "100ms"])).code).toBe(6);
    const started = startCli(["--address", host.address, "agent", "send", "a-1", "x", "--session", "s-1"]);
    await arrived.promise;
    started.signal();
    expect(await started.result).toEqual({ code: 130, stdout: "", stderr: "" });
  });
});

describe("sirsi agent chat", () => {
  beforeEach(() => {
    host.handlers.converse = async function* (requests) {
      for await (const { message } of requests) {
        const messageId = message?.messageId ?? "";
        if (message?.content === "bad") yield { messageId, kind: { case: "error", value: { code: 9, reason: "GUEST_ERROR", message: "cannot" } } };
        else if (message?.content === "end") throw new CannedFailure("SESSION_EXPIRED", "too late");
        else if (message?.content === "leave") return;
        else {
          yield { messageId, kind: { case: "partial", value: { content: "thinking" } } };
          yield { messageId, kind: { case: "response", value: { messageId, response: { content: `heard ${message?.content ?? ""}` } } } };
        }
      }
    };
  });

  it("answers line by line and goes on after an error", async () => {
    const result = await inSession(["agent", "chat", "a-1"], { stdin: "one\n\nbad\ntwo\n" });
    expect(result).toMatchObject({ code: 7, stdout: "heard one\nheard two\n", stderr: expect.stringContaining("error: cannot") as string });
  });

  it("prompts a person, shows that the agent works, and ends with 0 at /quit", async () => {
    const stdin = new PassThrough();
    const started = startCli(["--address", host.address, "agent", "chat", "a-1", "--session", "s-1"], { stdin, stdinIsTerminal: true, stderrIsTerminal: true });
    await started.printed("> ");
    stdin.write("bad\n");
    await started.printed("cannot");
    stdin.write("one\n");
    await started.printed("heard one");
    stdin.write("/quit\nnever\n");
    const result = await started.result;
    expect([result.code, result.stdout]).toEqual([0, "heard one\n"]);
    expect(result.stderr).toContain("… thinking");
  });

  it("tells why the host ended it", async () => {
    expect((await inSession(["agent", "chat", "a-1"], { stdin: "end\n" })).code).toBe(4);
    expect((await inSession(["agent", "chat", "a-1"], { stdin: "leave\n" })).code).toBe(5);
  });

  it("ends when it is interrupted", async () => {
    const started = startCli(["--address", host.address, "agent", "chat", "a-1", "--session", "s-1"], { stdin: new PassThrough(), stdinIsTerminal: true });
    await started.printed("> ");
    started.signal();
    expect((await started.result).code).toBe(130);
  });
});

describe("sirsi module", () => {
  it("list shows refused ones with their reason", async () => {
    host.handlers.listModules = () => ({ modules: [MODULE, { name: "broken", state: ModuleState.FAILED, lastError: "no memory export" }] });
    const result = await run(["module", "list"]);
    expect(result.stdout).toMatch(/echo {4}ACTIVE {2}1\.2\.0 {4}3fa1c09e3fa1 {2}2 {7}-\nbroken {2}FAILED {2}- {8}- {13}0 {7}no memory export\n/);
    expect((await run(["module", "list", "--quiet"])).stdout).toBe("echo\nbroken\n");
  });

  it("inspect shows revisions, imports and exports", async () => {
    host.handlers.getModule = () => ({ module: MODULE });
    expect((await run(["module", "inspect", "echo"])).stdout).toMatch(/3fa1c09e3fa1 {2}1\.2\.0 {4}ACTIVE {2}10\.0 KiB[^]*imports {2}sirsi\.log \(func\)\nexports {2}memory \(memory\)\n/);
  });

  it("install sends the file's bytes and says what became of the agents", async () => {
    writeFileSync(join(dir, "echo.wasm"), "\0asm");
    host.handlers.installModule = (request) => {
      asked = { ...request };
      return { module: MODULE, revision: REVISION, swap: { moved: 2, kept: 1, failed: 1, failureReason: "load refused" } };
    };
    const result = await run(["module", "install", "echo.wasm"]);
    expect([Buffer.from(asked["wasm"] as Uint8Array).toString(), asked["validateOnly"]]).toEqual(["\0asm", false]);
    expect(result.stdout).toContain("agents: 2 moved, 1 kept on their revision, 1 failed to move\nfirst failure: load refused\n");
    expect((await run(["module", "install", "echo.wasm", "--validate-only"])).stdout).toMatch(/^admissible; nothing was changed\n/);
    expect((await run(["module", "install", "missing.wasm"])).code).toBe(2);
  });

  const SWAP = { swapId: "s1", module: "echo", fromDigest: "a".repeat(64), toDigest: "b".repeat(64), moved: 9, kept: 1, reverted: 9, pauseP50Ms: 1, pauseP99Ms: 4.25, pauseMaxMs: 5 };

  it("install passes the swap's options on, tells of the rehearsal, and waits for the verdict when it is to watch", async () => {
    writeFileSync(join(dir, "echo.wasm"), "\0asm");
    let looks = 0;
    host.handlers.installModule = (request) => {
      asked = { ...request };
      return { module: MODULE, revision: REVISION, swap: { moved: 9, swapId: "s1", state: SwapState.WATCHING, rehearsal: ["every message was answered as before"] } };
    };
    host.handlers.listSwaps = () => ({ swaps: [{ ...SWAP, state: ++looks < 2 ? SwapState.WATCHING : SwapState.REVERTED, reason: "7 of 9 steps failed" }] });
    const watched = await run(["module", "install", "echo.wasm", "--canary", "25%", "--watch", "30s"]);
    expect(asked["swap"]).toMatchObject({ canaryPercent: 25, watchMs: 30_000n, dryRun: false });
    expect(watched.stdout).toContain("swap: s1 WATCHING\nrehearsal: every message was answered as before\nagents: 9 moved");
    expect([watched.code, watched.stderr, looks]).toEqual([4, expect.stringContaining("REVERTED: 7 of 9 steps failed (9 agents moved back)"), 2]);
    host.handlers.listSwaps = () => ({ swaps: [{ ...SWAP, state: SwapState.KEPT }] });
    expect((await run(["module", "install", "echo.wasm", "--watch", "0"])).stderr).toContain("kept: 9 agents moved, each paused 4.3 ms at p99, 5.0 ms at most");
    expect((await run(["module", "install", "echo.wasm"])).code).toBe(0);
    for (const share of ["0%", "101%", "half"]) expect((await run(["module", "install", "echo.wasm", "--canary", share])).code).toBe(2);
  });

  it("install says with its exit code that a revision was turned down, or would be", async () => {
    writeFileSync(join(dir, "echo.wasm"), "\0asm");
    host.handlers.installModule = (request) => {
      const state = request.swap?.dryRun === true ? SwapState.DRY_RUN : SwapState.REJECTED;
      return { module: MODULE, revision: REVISION, swap: { swapId: "s1", state, reason: "load() trapped" } };
    };
    const rejected = await run(["module", "install", "echo.wasm", "--watch", "1s"]);
    expect([rejected.code, rejected.stdout]).toEqual([4, expect.stringContaining("swap: s1 REJECTED\nreason: load() trapped")]);
    const dry = await run(["module", "install", "echo.wasm", "--dry-run"]);
    expect([dry.code, dry.stdout]).toEqual([4, expect.stringMatching(/^admissible; nothing was changed\n[^]*DRY_RUN/)]);
  });

  it("swaps lists them with their pauses and reasons", async () => {
    host.handlers.listSwaps = (request) => {
      asked = { ...request };
      return { swaps: [{ ...SWAP, state: SwapState.REVERTED, reason: "7 of 9 steps failed" }] };
    };
    const listed = await run(["module", "swaps", "echo", "--limit", "5"]);
    expect(asked).toMatchObject({ module: "echo", pageSize: 5 });
    expect(listed.stdout).toMatch(/s1 +echo +REVERTED +a{12} -> b{12} .* 9 +1 +0 +9 +1\.0\/4\.3\/5\.0 +7 of 9 steps failed/);
    expect((await run(["module", "swaps", "-q"])).stdout).toBe("s1\n");
    host.handlers.listSwaps = () => ({});
    expect((await run(["module", "swaps"])).stdout).toBe("no swaps\n");
  });

  it("reload, rollback and remove", async () => {
    host.handlers.reloadModule = () => ({ module: MODULE, swap: {} });
    host.handlers.rollbackModule = (request) => {
      asked = { ...request };
      return { module: MODULE };
    };
    host.handlers.removeModule = () => ({ module: { name: "echo", state: ModuleState.RETIRED } });
    expect((await run(["module", "reload", "echo"])).stdout).toContain("0 moved");
    expect((await run(["module", "rollback", "echo", "--to", "3fa1c09e", "-q"])).stdout).toBe(`${REVISION.digest}\n`);
    expect(asked).toMatchObject({ name: "echo", digest: "3fa1c09e" });
    expect((await run(["module", "remove", "echo"])).stdout).toContain("RETIRED");
  });

  it("ends with 3 for one that does not exist", async () => {
    host.handlers.getModule = () => {
      throw new CannedFailure("MODULE_NOT_FOUND", "no module nope");
    };
    expect(await run(["module", "inspect", "nope"])).toMatchObject({ code: 3, stderr: expect.stringContaining("sirsi module list") as string });
    const json = await run(["module", "inspect", "nope", "-o", "json"]);
    expect(JSON.parse(json.stderr)).toMatchObject({ error: { reason: "MODULE_NOT_FOUND" } });
  });
});

describe("sirsi events", () => {
  const event = { eventId: "e-1", eventType: "AGENT_SPAWNED", sourceAgentId: "a-1", targetAgentId: "a-2", topic: "t", sequence: 4n, attributes: { why: "asked" } };

  it("follows until it has enough", async () => {
    host.handlers.streamEvents = async function* (request) {
      asked = { ...request };
      for (;;) yield { event };
    };
    const result = await inSession(["events", "--type", "AGENT_SPAWNED", "--from", "4", "--max", "2"]);
    expect(asked).toMatchObject({ sessionId: "s-1", eventTypes: ["AGENT_SPAWNED"], fromSequence: 4n });
    expect(result).toMatchObject({ code: 0, stdout: "4    AGENT_SPAWNED  a-1 -> a-2 on t  why=asked\n".repeat(2) });
    expect((await inSession(["events", "--max", "1", "--quiet"])).stdout).toBe("e-1\n");
  });

  it("as JSON is one object a line, with payloads of unknown types kept", async () => {
    host.handlers.streamEvents = async function* () {
      yield { event: { ...event, payload: { typeUrl: "type.googleapis.com/acme.Thing", value: new Uint8Array([1, 2]) } } };
      yield { event: { ...event, payload: { typeUrl: "type.googleapis.com/google.protobuf.StringValue", value: new Uint8Array([0x0a, 0x01, 0x78]) } } };
    };
    const { stdout } = await inSession(["events", "-o", "json"]);
    const [opaque, known] = stdout.trim().split("\n").map((line) => (JSON.parse(line) as { payload: unknown }).payload);
    expect(opaque).toEqual({ "@type": "type.googleapis.com/google.protobuf.Struct", value: { typeUrl: "type.googleapis.com/acme.Thing", base64: "AQI=" } });
    expect(known).toEqual({ "@type": "type.googleapis.com/google.protobuf.StringValue", value: "x" });
  });

  it("ends with 130 when it is interrupted", async () => {
    host.handlers.streamEvents = async function* (_request, { signal }) {
      yield { event };
      await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
    };
    const started = startCli(["--address", host.address, "events", "--session", "s-1"]);
    await started.printed("AGENT_SPAWNED");
    started.signal();
    expect((await started.result).code).toBe(130);
  });
});

describe("sirsi health", () => {
  it.each([
    [HealthStatus.HEALTHY, 0],
    [HealthStatus.DEGRADED, 0],
    [HealthStatus.UNHEALTHY, 1],
    [HealthStatus.UNKNOWN, 1],
  ])("of a host in state %i ends with %i", async (overallStatus, code) => {
    host.handlers.getSystemHealth = () => ({ health: { overallStatus, components: { store: { status: HealthStatus.HEALTHY, message: "writes", details: { files: "1" } }, bus: { status: overallStatus } } } });
    const result = await run(["health"]);
    expect(result.code).toBe(code);
    expect(result.stdout).toMatch(/PART {3}STATUS[^]*bus {4}[^]*store {2}HEALTHY +writes +files=1/);
  });

  it("has the figures when they are asked for", async () => {
    host.handlers.getSystemHealth = (request) => {
      asked = { ...request };
      return { health: { overallStatus: HealthStatus.HEALTHY }, metrics: { totalAgents: 12, uptimeSeconds: 60n } };
    };
    expect((await run(["health", "--metrics"])).stdout).toMatch(/agents {4}12\n/);
    expect(asked["includeMetrics"]).toBe(true);
  });
});

describe("the command line itself", () => {
  it("prints help and version with 0, and explains itself with 2", async () => {
    expect(await cli(["--version"])).toMatchObject({ code: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) as string });
    expect((await cli(["agent", "send", "--help"])).stdout).toMatch(/Examples:\n {2}\$ sirsi agent send AGENT hello there/);
    expect((await cli([])).code).toBe(2);
    expect(await cli(["agnt"])).toMatchObject({ code: 2, stderr: expect.stringContaining("Did you mean agent?") as string });
    expect((await cli(["health", "--address", "nowhere"])).code).toBe(2);
    expect((await cli(["health", "extra"])).code).toBe(2);
  });

  it("takes the address from the environment and ends with 5 when nobody is there", async () => {
    const result = await cli(["health", "--timeout", "5s"], { env: { SIRSI_ADDRESS: "127.0.0.1:1" } });
    expect(result).toMatchObject({ code: 5, stderr: expect.stringContaining("no host answers at 127.0.0.1:1") as string });
  });

  it("colours an error on a terminal only, and not when colours are unwanted", async () => {
    const red = "\u001b[31merror:";
    const stderr = async (argv: string[], options: CliOptions) => (await cli(["agent", "send", "a", ...argv], options)).stderr;
    expect(await stderr([], { stderrIsTerminal: true })).toContain(red);
    expect(await stderr([], {})).not.toContain(red);
    expect(await stderr(["--no-color"], { stderrIsTerminal: true })).not.toContain(red);
    expect(await stderr([], { stderrIsTerminal: true, env: { NO_COLOR: "1" } })).not.toContain(red);
  });
});
