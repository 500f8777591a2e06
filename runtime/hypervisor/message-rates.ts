/**
 * How many messages clients may send in a minute, by session and by user. Hosts that share
 * a Redis count together; while they cannot, each counts by itself.
 */
import type { Config } from "../config/index.ts";
import { SirsiError } from "../core/errors.ts";
import type { RateLimits, RateRule, RateVerdict } from "../session/context/index.ts";
import type { SessionRecord } from "../store/store.ts";

export class MessageRates {
  readonly #rates: RateLimits;
  readonly #config: Config["messageRates"];

  private constructor(rates: RateLimits, config: Config["messageRates"]) {
    this.#rates = rates;
    this.#config = config;
  }

  /** Null when there is nothing to count: no message is asked about then. */
  static of(rates: RateLimits, config: Config["messageRates"]): MessageRates | null {
    return config.perSession === 0 && config.perUser === 0 ? null : new MessageRates(rates, config);
  }

  /** One more message of this session; OVERLOADED with when to send it again. */
  async require({ sessionId, userId }: Pick<SessionRecord, "sessionId" | "userId">): Promise<void> {
    const { perSession, perUser } = this.#config;
    const rules: readonly RateRule[] = [
      ...(perSession === 0 ? [] : [{ key: `session:${sessionId}`, perMinute: perSession }]),
      ...(perUser === 0 ? [] : [{ key: `user:${userId}`, perMinute: perUser }]),
    ];
    const verdict = await this.#rates.take(rules);
    if (verdict.kind === "refused") throw refusal(verdict, rules[verdict.by]);
  }
}

function refusal({ retryAfterMs }: Extract<RateVerdict, { kind: "refused" }>, rule: RateRule | undefined): SirsiError {
  const [whose = "", id = ""] = rule?.key.split(/:(.*)/s) ?? [];
  const setting = `limits.messages_per_minute_per_${whose}`;
  return new SirsiError("OVERLOADED", `${whose} ${id} sends more than ${rule?.perMinute} messages a minute; wait ${retryAfterMs} ms and send again, or have an operator raise ${setting}`, {
    retryAfterMs,
    metadata: { limit: setting },
  });
}
