/**
 * A process of the benchmark: asked and answered over Node's channel, ended by its id.
 *
 * A child answers each question once, with its reply or with what went wrong.
 */
import { type ChildProcess, fork } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { processEnvironment } from "../../runtime/config/index.ts";
import { Deferred } from "../../runtime/core/deferred.ts";
import { SirsiError } from "../../runtime/core/errors.ts";

/** As the `sirsi` command starts (scripts/sirsi.js). */
const COMPILED = fileURLToPath(new URL("../../.cache/compiled", import.meta.url));

interface Question {
  readonly id: number;
  readonly ask: unknown;
}

type Reply = { readonly id: number; readonly answer: unknown } | { readonly id: number; readonly error: string };

export class BenchChild {
  readonly #process: ChildProcess;
  readonly #family: boolean;
  readonly #open = new Map<number, Deferred<unknown>>();
  readonly #exited = new Deferred<void>();
  #nextId = 1;

  /** `family`: what it starts itself ends with it, however it ends. */
  constructor(file: URL, options: { readonly family?: boolean } = {}) {
    this.#family = options.family ?? false;
    this.#process = fork(file, { serialization: "advanced", env: { ...processEnvironment(), NODE_COMPILE_CACHE: COMPILED }, stdio: ["ignore", "inherit", "inherit", "ipc"], detached: this.#family });
    this.#process.on("message", (reply: Reply) => this.#settle(reply));
    this.#process.on("exit", (code, signal) => {
      for (const deferred of this.#open.values()) deferred.reject(new SirsiError("INTERNAL", `a process of the benchmark ended before it answered (${signal ?? `code ${code}`})`));
      this.#open.clear();
      this.#exited.resolve();
    });
  }

  get pid(): number {
    return this.#process.pid ?? -1;
  }

  async ask<Answer>(question: unknown): Promise<Answer> {
    const deferred = new Deferred<unknown>();
    const id = this.#nextId++;
    this.#open.set(id, deferred);
    this.#process.send({ id, ask: question } satisfies Question);
    return (await deferred.promise) as Answer;
  }

  #settle(reply: Reply): void {
    const deferred = this.#open.get(reply.id);
    this.#open.delete(reply.id);
    if ("error" in reply) deferred?.reject(new SirsiError("INTERNAL", reply.error));
    else deferred?.resolve(reply.answer);
  }

  /** Ends it now. */
  async end(): Promise<void> {
    if (this.#family) endGroup(this.pid);
    else if (this.#process.exitCode === null && this.#process.signalCode === null) this.#process.kill("SIGKILL");
    await this.#exited.promise;
  }
}

function endGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // All of it has ended already.
  }
}

/** The child's side. It ends when its parent does. */
export function answerParent(answer: (ask: never) => Promise<unknown>): void {
  process.on("message", (question: Question) => {
    answer(question.ask as never).then(
      (reply) => process.send?.({ id: question.id, answer: reply }),
      (thrown: unknown) => process.send?.({ id: question.id, error: SirsiError.from(thrown).message }),
    );
  });
  process.on("disconnect", () => process.exit());
}
