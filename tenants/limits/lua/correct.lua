-- Charge rates more than was thought, or less, whatever they allow; never less than nothing.
--
-- KEYS  the buckets
-- ARGV  of each how much more it is filled, as time (us)

local time = redis.call('TIME')
local now = (time[1] - 1767225600) * 1000000 + time[2]

for i, key in ipairs(KEYS) do
    local level = math.max((tonumber(redis.call('GET', key)) or now) - now, 0) + tonumber(ARGV[i])
    if level > 0 then
        redis.call('SET', key, string.format('%.3f', now + level), 'PX', math.ceil(level / 1000) + 1)
    else
        redis.call('DEL', key)
    end
end
