-- Charge a request to all of its buckets, or to none if one of them refuses. One call of this per request.
--
-- KEYS   the buckets
-- ARGV   who holds places among calls at the same time; whether to charge; how long a place is held (us);
--        and of each bucket three numbers:
--          a rate: how much the request fills it, how full it may be, and how little above that is
--          not looked at, all as time (us)
--          calls at the same time: 0, how many, 0
-- gives  which bucket refuses (0: none), how long to wait (us), and how full each one is (us, or calls)

local time = redis.call('TIME')
-- Counted from 2026, so that a number of Lua holds it to a hundredth of a microsecond.
local now = (time[1] - 1767225600) * 1000000 + time[2]
local holder, commit, lease = ARGV[1], ARGV[2] == '1', tonumber(ARGV[3])
local before, after = {}, {}
local refused, wait = 0, 0

for i, key in ipairs(KEYS) do
    local share, most, slack = ARGV[1 + 3 * i], tonumber(ARGV[2 + 3 * i]), tonumber(ARGV[3 + 3 * i])
    local over
    if share == '0' then
        redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
        before[i] = redis.call('ZCARD', key)
        after[i] = before[i] + 1
        over = after[i] > most and 1 or 0
    else
        before[i] = math.max((tonumber(redis.call('GET', key)) or now) - now, 0)
        after[i] = before[i] + tonumber(share)
        over = after[i] - most
    end
    if over > slack and over > wait then
        refused, wait = i, over
    end
end

if refused > 0 or not commit then
    return {refused, math.ceil(wait), unpack(before)}
end
for i, key in ipairs(KEYS) do
    if ARGV[1 + 3 * i] == '0' then
        redis.call('ZADD', key, now + lease, holder)
        redis.call('PEXPIRE', key, lease / 1000)
    else
        redis.call('SET', key, string.format('%.3f', now + after[i]), 'PX', math.ceil(after[i] / 1000) + 1)
    end
end
return {0, 0, unpack(after)}
