/**
 * What happens in Redis in one piece. Each script gets its keys first; the clock is
 * Redis's own, so that hosts whose clocks differ agree.
 */

/** Exchanges, oldest first, after those that are there, or in their place. An entry is "SEQUENCE:BODY". */
const ADD_EXCHANGES = `
local head = redis.call("LINDEX", KEYS[1], 0)
if head and tonumber(string.match(head, "^%d+")) ~= tonumber(ARGV[3]) - 1 then redis.call("DEL", KEYS[1]) end
for i = 4, #ARGV do redis.call("LPUSH", KEYS[1], ARGV[i]) end
redis.call("LTRIM", KEYS[1], 0, tonumber(ARGV[2]) - 1)
redis.call("PEXPIRE", KEYS[1], ARGV[1])
`;

const PUT_NOTES = `
redis.call("HSET", KEYS[1], unpack(ARGV, 2))
redis.call("PEXPIRE", KEYS[1], ARGV[1])
`;

/**
 * rate-bucket.ts, for buckets that hosts share. ARGV has how many a minute each bucket
 * gives. Answers {which, wait in milliseconds}, or {0, 0} when all gave one.
 */
const TAKE = `
local time = redis.call("TIME")
local now = time[1] * 1000 + time[2] / 1000
local by, wait, full = 0, 0, {}
for i, key in ipairs(KEYS) do
  full[i] = math.max(tonumber(redis.call("GET", key) or now), now) + 60000 / ARGV[i]
  local short = full[i] - now - 60000
  if short > wait then by, wait = i, short end
end
if wait > 0 then return { by, math.ceil(wait) } end
for i, key in ipairs(KEYS) do
  redis.call("SET", key, string.format("%.3f", full[i]), "PX", math.ceil(full[i] - now))
end
return { 0, 0 }
`;

/** This host is still there, and so is what it said: the version tells. 0 when it has to say all of it anew. */
const STILL_HERE = `
if redis.call("HGET", KEYS[2], "") ~= ARGV[3] then return 0 end
local time = redis.call("TIME")
redis.call("ZADD", KEYS[1], time[1] * 1000 + ARGV[2], ARGV[1])
redis.call("PEXPIRE", KEYS[2], ARGV[2])
return 1
`;

/** ARGV from the fourth on: session, connections, … */
const HERE = `
redis.call("DEL", KEYS[2])
redis.call("HSET", KEYS[2], "", ARGV[3])
for i = 4, #ARGV, 2 do redis.call("HSET", KEYS[2], ARGV[i], ARGV[i + 1]) end
local time = redis.call("TIME")
redis.call("ZADD", KEYS[1], time[1] * 1000 + ARGV[2], ARGV[1])
redis.call("PEXPIRE", KEYS[2], ARGV[2])
`;

const GONE = `
redis.call("ZREM", KEYS[1], ARGV[1])
redis.call("DEL", KEYS[2])
`;

/** Answers host, connections, … ARGV is what the keys of hosts begin with, and the session. */
const WHERE = `
local time = redis.call("TIME")
redis.call("ZREMRANGEBYSCORE", KEYS[1], "-inf", time[1] * 1000 + math.floor(time[2] / 1000))
local found = {}
for _, host in ipairs(redis.call("ZRANGE", KEYS[1], 0, -1)) do
  local connections = redis.call("HGET", ARGV[1] .. host, ARGV[2])
  if connections then
    table.insert(found, host)
    table.insert(found, connections)
  end
end
return found
`;

export const SCRIPTS = {
  sirsiAddExchanges: { lua: ADD_EXCHANGES, numberOfKeys: 1 },
  sirsiPutNotes: { lua: PUT_NOTES, numberOfKeys: 1 },
  sirsiTake: { lua: TAKE },
  sirsiStillHere: { lua: STILL_HERE, numberOfKeys: 2 },
  sirsiHere: { lua: HERE, numberOfKeys: 2 },
  sirsiGone: { lua: GONE, numberOfKeys: 2 },
  sirsiWhere: { lua: WHERE, numberOfKeys: 1 },
} as const;

type Argument = string | number | Buffer;
type Script = (...args: readonly Argument[]) => Promise<unknown>;

/** As ioredis has them once they are defined; `sirsiTake` gets the number of its keys before them. */
export type Scripts = { readonly [Name in keyof typeof SCRIPTS]: Script };
