-- EWMA and z-score; the state of a key is one packed string. One MGET and one MSET a batch.
-- KEYS: the key of each event. ARGV[1]: two doubles for each event, packed; ARGV[2]: their format. Returns the same.
-- A key that comes twice is worked on in order, because the batch's states are held in tables.
local n = #KEYS
local values = {struct.unpack(ARGV[2], ARGV[1])}
local stored = redis.call('MGET', unpack(KEYS))
local count, mean, m2, ewma = {}, {}, {}, {}
local out = {}
for i = 1, n do
  local key = KEYS[i]
  local c, u, q, e = count[key], mean[key], m2[key], ewma[key]
  if c == nil then
    local s = stored[i]
    if s then c, u, q, e = struct.unpack('<dddd', s) else c, u, q, e = 0, 0, 0, 0 end
  end
  local t, h = values[2 * i - 1], values[2 * i]
  if c == 0 then e = h else e = e + 0.1 * (h - e) end
  c = c + 1
  local d = t - u
  u = u + d / c
  q = q + d * (t - u)
  local z = 0 / 0
  if c > 1 and q > 0 then z = (t - u) / math.sqrt(q / c) end
  count[key], mean[key], m2[key], ewma[key] = c, u, q, e
  out[2 * i - 1], out[2 * i] = e, z
end
local set, j = {}, 0
for key, c in pairs(count) do
  set[j + 1], set[j + 2] = key, struct.pack('<dddd', c, mean[key], m2[key], ewma[key])
  j = j + 2
end
redis.call('MSET', unpack(set))
return struct.pack(ARGV[2], unpack(out))
