import { AgentError } from "./agent-error";
import { HealthStatus } from "./gen/agent-service";
import { HealthResult } from "./gen/guest";
import { NO_BYTES } from "./wire";

/** How a step that answers nothing ended. */
export class Outcome {
  constructor(public readonly error: AgentError | null) {}

  get ok(): bool {
    return this.error === null;
  }

  static ok(): Outcome {
    return new Outcome(null);
  }

  static fail(code: string, message: string, retryable: bool = false): Outcome {
    return new Outcome(AgentError.of(code, message, retryable));
  }
}

/** How a task ended: its output, or an error. */
export class TaskOutcome {
  constructor(
    public readonly output: Uint8Array,
    public readonly error: AgentError | null,
  ) {}

  static done(output: Uint8Array): TaskOutcome {
    return new TaskOutcome(output, null);
  }

  static fail(code: string, message: string, retryable: bool = false): TaskOutcome {
    return new TaskOutcome(NO_BYTES, AgentError.of(code, message, retryable));
  }
}

/** How an agent feels. */
export class Health {
  readonly result: HealthResult = new HealthResult();

  static healthy(message: string = ""): Health {
    return Health.of(HealthStatus.HEALTHY, message);
  }

  static degraded(message: string): Health {
    return Health.of(HealthStatus.DEGRADED, message);
  }

  static unhealthy(message: string): Health {
    return Health.of(HealthStatus.UNHEALTHY, message);
  }

  static of(status: i32, message: string): Health {
    const health = new Health();
    health.result.status = status;
    health.result.message = message;
    return health;
  }

  /** Adds a fact for people. */
  with(key: string, value: string): Health {
    this.result.details.set(key, value);
    return this;
  }
}
