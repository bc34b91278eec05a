-- Return the open circuits: name, seconds left, openings, by what, why.
-- KEYS: the index. ARGV: what a circuit's key begins with, how many at most.
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local found = {}
for _, name in ipairs(redis.call('ZRANGE', KEYS[1], 0, tonumber(ARGV[2]) - 1)) do
  local row = redis.call('HMGET', ARGV[1] .. name, 'until', 'openings', 'by', 'why')
  if row[1] then
    local left = math.max(tonumber(row[1]) - now, 0)
    found[#found + 1] = {name, string.format('%.3f', left), row[2], row[3] or '', row[4] or ''}
  end
end
return found
