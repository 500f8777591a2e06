/** A PostgreSQL server for one test file, and databases of their own for its tests. */
import { execFile } from "node:child_process";
import { chmod, chown, stat } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { systemClock } from "../../runtime/core/clock.ts";
import { openPostgresStore, type PostgresStoreOptions } from "../../runtime/store/postgres/index.ts";
import type { FleetStore } from "../../runtime/store/fleet-store.ts";
import { postgresService, runSql } from "../../scripts/services/postgres.ts";
import { until } from "../../scripts/services/service.ts";
import { RunningServer } from "./running-server.ts";

const execute = promisify(execFile);

/** Tests kill the server and never the machine: what the kernel has is safe. */
const CONFIG = "fsync = off\nmax_connections = 60";
const TEMPLATE = "migrated";

export class PostgresServer {
  readonly #server: RunningServer;
  #databases = 0;

  private constructor(server: RunningServer) {
    this.#server = server;
  }

  static async start(): Promise<PostgresServer> {
    const server = new PostgresServer(await RunningServer.start(postgresService, { config: CONFIG }));
    try {
      await server.sql("postgres", `CREATE DATABASE ${TEMPLATE}`);
      await (await openPostgresStore({ url: server.urlOf(TEMPLATE), clock: systemClock })).close();
      return server;
    } catch (thrown) {
      await server.stop();
      throw thrown;
    }
  }

  get port(): number {
    return this.#server.port;
  }

  urlOf(database: string): string {
    const url = new URL(this.#server.url);
    url.pathname = `/${database}`;
    return url.href;
  }

  sql(database: string, sql: string): Promise<string> {
    return runSql(this.#server.record, database, sql);
  }

  /** Its tables made, and empty; or without any table. */
  async newDatabase(tables: "migrated" | "bare" = "migrated"): Promise<string> {
    const name = `test_${++this.#databases}`;
    await this.sql("postgres", `CREATE DATABASE ${name} TEMPLATE ${tables === "migrated" ? TEMPLATE : "template0"}`);
    return name;
  }

  open(database: string, options: Partial<PostgresStoreOptions> = {}): Promise<FleetStore> {
    return openPostgresStore({ url: this.urlOf(database), clock: systemClock, ...options });
  }

  /** Takes TLS connections from now on; gives the file of the certificate that proves `127.0.0.1`. */
  async useTls(): Promise<string> {
    const { directory } = this.#server;
    const [key, certificate] = [join(directory, "server.key"), join(directory, "server.crt")];
    const subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:TRUE"];
    await execute("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-keyout", key, "-out", certificate, ...subject]);
    const { uid, gid } = await stat(join(directory, "data"));
    for (const file of [key, certificate]) {
      await chown(file, uid, gid);
      await chmod(file, 0o600);
    }
    for (const setting of [`ssl_key_file = '${key}'`, `ssl_cert_file = '${certificate}'`, "ssl = on"]) await this.sql("postgres", `ALTER SYSTEM SET ${setting}`);
    await this.sql("postgres", "SELECT pg_reload_conf()");
    await until(async () => (await this.sql("postgres", "SHOW ssl")) === "on", 10_000, () => "the server does not take TLS connections");
    return certificate;
  }

  /** Nothing is written down, nobody is told. */
  kill(): Promise<void> {
    return this.#server.kill();
  }

  restart(): Promise<void> {
    return this.#server.restart();
  }

  stop(): Promise<void> {
    return this.#server.stop();
  }
}
