-- The call no longer runs: give up its places among calls at the same time.
--
-- KEYS  the buckets
-- ARGV  who holds the places

for _, key in ipairs(KEYS) do
    redis.call('ZREM', key, ARGV[1])
end
