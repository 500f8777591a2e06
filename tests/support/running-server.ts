/** A server of scripts/services in the hands of a test: killed, frozen, started again, and gone at the test's end. */
import { rmSync } from "node:fs";
import { natsService } from "../../scripts/services/nats.ts";
import { redisService } from "../../scripts/services/redis.ts";
import { isAlive, startInNewDirectory, until, type Service, type ServiceRecord, type StartOptions } from "../../scripts/services/service.ts";

/** PostgreSQL waits for its clients at SIGTERM. */
const ORDERLY: Readonly<Record<string, NodeJS.Signals>> = { postgres: "SIGINT" };

type Wishes = Omit<StartOptions, "directory">;

export class RunningServer implements AsyncDisposable {
  readonly #service: Service;
  readonly #endWithUs = (): void => {
    if (isAlive(this.pid)) process.kill(this.pid, "SIGKILL");
    rmSync(this.directory, { recursive: true, force: true });
  };
  #record: ServiceRecord;

  private constructor(service: Service, record: ServiceRecord) {
    this.#service = service;
    this.#record = record;
    process.once("exit", this.#endWithUs);
  }

  static async start(service: Service, wishes: Wishes = {}): Promise<RunningServer> {
    return new RunningServer(service, await startInNewDirectory(service, wishes));
  }

  get record(): ServiceRecord {
    return this.#record;
  }

  get url(): string {
    return this.#record.url;
  }

  get port(): number {
    return this.#record.port;
  }

  get pid(): number {
    return this.#record.pid;
  }

  get directory(): string {
    return this.#record.directory;
  }

  /** Nothing is written down, nobody is told. What it had on disk stays. Repeatable. */
  async kill(): Promise<void> {
    const { pid } = this;
    if (!(await this.#service.isRunning(this.#record))) return;
    process.kill(pid, "SIGKILL");
    await until(() => !isAlive(pid), 10_000, () => `process ${pid} does not die`);
  }

  /** As its operator stops it; what it had on disk stays. Repeatable. */
  async halt(): Promise<void> {
    const { pid } = this;
    if (!(await this.#service.isRunning(this.#record))) return;
    process.kill(pid, ORDERLY[this.#service.name] ?? "SIGTERM");
    await until(() => !isAlive(pid), 30_000, () => `process ${pid} does not stop`);
  }

  /** After it was killed: where it was, with what it had on disk. */
  async restart(): Promise<void> {
    this.#record = await this.#service.restart(this.#record);
  }

  /** It stops in the middle of whatever it does; connections stay open. */
  freeze(): void {
    process.kill(this.pid, "SIGSTOP");
  }

  thaw(): void {
    process.kill(this.pid, "SIGCONT");
  }

  /** In an orderly way, with all it has. Repeatable. */
  async stop(): Promise<void> {
    if (await this.#service.isRunning(this.#record)) this.thaw();
    await this.#service.stop(this.#record);
    process.off("exit", this.#endWithUs);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

export function startNats(wishes?: Wishes): Promise<RunningServer> {
  return RunningServer.start(natsService, wishes);
}

export function startRedis(wishes?: Wishes): Promise<RunningServer> {
  return RunningServer.start(redisService, wishes);
}
