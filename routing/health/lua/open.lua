-- Note that a circuit is open, until the later of what is known and what is told, and tell everybody.
-- KEYS: the circuit, the index, its probe. ARGV: seconds, openings, by what, why, channel, message, name.
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local known = redis.call('HMGET', KEYS[1], 'until', 'openings')
local until_ = now + tonumber(ARGV[1])
local openings = math.max(tonumber(ARGV[2]), tonumber(known[2] or '0'))
if known[1] and tonumber(known[1]) > until_ then
  until_ = tonumber(known[1])
else
  redis.call('HSET', KEYS[1], 'by', ARGV[3], 'why', ARGV[4])
end
redis.call('HSET', KEYS[1], 'until', string.format('%.6f', until_), 'openings', openings)
local forgotten = until_ + 60
redis.call('PEXPIRE', KEYS[1], math.ceil((forgotten - now) * 1000))
redis.call('ZADD', KEYS[2], forgotten, ARGV[7])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
redis.call('DEL', KEYS[3])
redis.call('PUBLISH', ARGV[5], ARGV[6])
return 1
