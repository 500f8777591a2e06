/** A server that development and tests run on this machine: on the loopback, on a free port, in a temporary directory. */

export interface StartOptions {
  /** Default: a free one. */
  readonly port?: number;
  /** Where its data are; made when missing, and kept. Default: a temporary one, removed with the server. */
  readonly directory?: string;
  /** Let it outlive this process. Default: it ends with it. */
  readonly detached?: boolean;
}

export interface RunningService extends AsyncDisposable {
  /** What a client is given to connect. */
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  readonly directory: string;
  /** Ends it, removes a temporary directory, and resolves when it is gone. Repeatable. Default SIGTERM. */
  stop(signal?: "SIGTERM" | "SIGKILL"): Promise<void>;
}

export interface Service {
  readonly name: string;
  /** Resolves when it takes connections. */
  start(options?: StartOptions): Promise<RunningService>;
}
