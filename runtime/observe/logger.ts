/**
 * The host's log: JSON lines for machines, or one readable line each for a
 * terminal. It goes to standard error, so that standard output stays for answers.
 * What is plainly a secret is never written.
 */
import { destination, pino, type DestinationStream, type LoggerOptions } from "pino";
import { systemClock, type Clock } from "../core/clock.ts";
import { formatLogLine } from "./log-format.ts";

export const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface LogFunction {
  /** `err` is the field for an error: its stack and cause are written out. */
  (fields: Readonly<Record<string, unknown>>, message: string): void;
  (message: string): void;
}

export interface Logger {
  readonly trace: LogFunction;
  readonly debug: LogFunction;
  readonly info: LogFunction;
  readonly warn: LogFunction;
  readonly error: LogFunction;
  readonly fatal: LogFunction;
  /** Adds fields to every line; usual ones are agentId, sessionId, module. */
  child(fields: Readonly<Record<string, unknown>>): Logger;
  isLevelEnabled(level: string): boolean;
}

export interface LogOptions {
  /** Default "info". */
  readonly level?: LogLevel;
  /** Default "auto": pretty on a terminal, JSON otherwise. */
  readonly format?: "json" | "pretty" | "auto";
  /** Where lines go; default standard error. */
  readonly output?: { write(line: string): void };
  /** Colours in the pretty format; default when standard error is a terminal. */
  readonly color?: boolean;
  readonly clock?: Clock;
}

const SECRET_FIELDS = ["password", "passwd", "secret", "token", "apiKey", "api_key", "accessKey", "privateKey", "authorization", "cookie", "credentials"];
/** A field of the line, of an object in it, or of an object in that. */
const REDACTED = SECRET_FIELDS.flatMap((field) => [field, `*.${field}`, `*.*.${field}`]);
/** Secrets that come inside of texts. */
const SECRET_TEXT = /\b(Bearer|Basic) [\w.~+/=-]{8,}|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g;

const MASK = "[redacted]";

function withoutSecrets(text: string): string {
  return text.replaceAll(SECRET_TEXT, (_match, scheme: string | undefined) => (scheme === undefined ? MASK : `${scheme} ${MASK}`));
}

function prettyOutput(output: { write(line: string): void }, color: boolean): DestinationStream {
  return { write: (line) => output.write(formatLogLine(line, color)) };
}

export function createLogger(options: LogOptions = {}): Logger {
  const clock = options.clock ?? systemClock;
  const terminal = process.stderr.isTTY;
  const output = options.output ?? destination({ fd: 2, sync: true });
  const pretty = options.format === "pretty" || (options.format !== "json" && terminal && options.output === undefined);
  const settings: LoggerOptions = {
    level: options.level ?? "info",
    base: null,
    timestamp: () => `,"time":"${new Date(clock.now()).toISOString()}"`,
    redact: { paths: REDACTED, censor: MASK },
    hooks: {
      logMethod(args, method) {
        const last = args.length - 1;
        const text: unknown = args[last];
        if (typeof text === "string") args[last] = withoutSecrets(text);
        method.apply(this, args);
      },
    },
  };
  return pino(settings, pretty ? prettyOutput(output, options.color ?? terminal) : output);
}

/** Says nothing; for tests and tools. */
export const silentLogger: Logger = pino({ level: "silent" });
