-- A number for a token that was got without a lease, unless what is stored is better.
-- KEYS: token, fence. ARGV: the token's own fence, seconds that the fence is kept.
local function text(number) return string.format('%.0f', number) end
local stored = redis.call('HMGET', KEYS[1], 'fence', 'suspect', 'refusal', 'life', 'sealed')
local last, offered = tonumber(stored[1] or '0') or 0, tonumber(ARGV[1])
if stored[1] and stored[2] ~= '1' and last >= offered then
  return {'stored', stored[1], stored[2], stored[3], stored[4], stored[5], text(redis.call('PTTL', KEYS[1]))}
end
local fence = math.max(redis.call('INCR', KEYS[2]), last + 1, offered + 1)
redis.call('SET', KEYS[2], text(fence), 'EX', ARGV[2])
return {'fence', text(fence)}
