-- Forget that a circuit was open, and tell everybody.
-- KEYS: the circuit, the index, its probe. ARGV: channel, message, name.
local was_open = redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[3])
redis.call('DEL', KEYS[3])
redis.call('PUBLISH', ARGV[1], ARGV[2])
return was_open
