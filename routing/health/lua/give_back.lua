-- Give back leases, as far as they are still one's own. KEYS: probes. ARGV: whose they are.
for _, key in ipairs(KEYS) do
  if redis.call('GET', key) == ARGV[1] then
    redis.call('DEL', key)
  end
end
return 1
