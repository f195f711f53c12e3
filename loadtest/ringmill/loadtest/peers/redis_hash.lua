-- EWMA and z-score; the state of a key is a hash, as one would write it first. One HMGET and one HSET an event.
-- KEYS: the key of each event. ARGV[1]: two doubles for each event, packed; ARGV[2]: their format. Returns the same.
local values = {struct.unpack(ARGV[2], ARGV[1])}
local out = {}
for i = 1, #KEYS do
  local stored = redis.call('HMGET', KEYS[i], 'count', 'mean', 'm2', 'ewma')
  local c, u = tonumber(stored[1]) or 0, tonumber(stored[2]) or 0
  local q, e = tonumber(stored[3]) or 0, tonumber(stored[4]) or 0
  local t, h = values[2 * i - 1], values[2 * i]
  if c == 0 then e = h else e = e + 0.1 * (h - e) end
  c = c + 1
  local d = t - u
  u = u + d / c
  q = q + d * (t - u)
  local z = 0 / 0
  if c > 1 and q > 0 then z = (t - u) / math.sqrt(q / c) end
  redis.call('HSET', KEYS[i], 'count', c, 'mean', string.format('%.17g', u), 'm2', string.format('%.17g', q),
    'ewma', string.format('%.17g', e))
  out[2 * i - 1], out[2 * i] = e, z
end
return struct.pack(ARGV[2], unpack(out))
