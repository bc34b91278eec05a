-- Hold a place among calls at the same time for longer, if it is still held.
--
-- KEYS  the bucket
-- ARGV  who holds it; for how long (us)

local time = redis.call('TIME')
local now = (time[1] - 1767225600) * 1000000 + time[2]
redis.call('ZADD', KEYS[1], 'XX', now + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2] / 1000)
