/** What the command line has of its process; a test brings its own. */
import type { Readable } from "node:stream";
import type { Environment } from "../config/index.ts";

export interface TextOut {
  write(text: string): void;
  readonly isTerminal: boolean;
}

export interface Terminal {
  readonly stdin: Readable;
  readonly stdinIsTerminal: boolean;
  readonly stdout: TextOut;
  readonly stderr: TextOut;
  readonly env: Environment;
  readonly cwd: string;
  /** Calls back at each SIGINT or SIGTERM until the returned function is called. */
  onSignal(handler: () => void): () => void;
  /** Ends the process at once. */
  exit(code: number): void;
}
