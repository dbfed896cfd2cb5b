-- Lays a token that was got without a lease under its reserved number, unless what is stored by now is better.
-- KEYS: token, fault.
-- ARGV: reserved fence, the token's own fence, suspect, refusal, life, sealed, left in ms, channel, credential, process.
local function text(number) return string.format('%.0f', number) end
local stored = redis.call('HMGET', KEYS[1], 'fence', 'suspect', 'refusal', 'life', 'sealed')
local last, fence, offered = tonumber(stored[1] or '0') or 0, tonumber(ARGV[1]), tonumber(ARGV[2])
-- The same call once more: its first answer was lost.
if last == fence and stored[5] == ARGV[6] then return {'fence', ARGV[1]} end
if stored[1] and (last >= fence or (stored[2] ~= '1' and last >= offered)) then
  return {'stored', stored[1], stored[2], stored[3], stored[4], stored[5], text(redis.call('PTTL', KEYS[1]))}
end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[1], 'fence', ARGV[1], 'suspect', ARGV[3], 'refusal', ARGV[4], 'life', ARGV[5], 'sealed', ARGV[6])
redis.call('PEXPIRE', KEYS[1], ARGV[7])
local event = '{"key":"%s","kind":"token","fence":%.0f,"from":"%s"}'
redis.call('PUBLISH', ARGV[8], string.format(event, ARGV[9], fence, ARGV[10]))
return {'fence', ARGV[1]}
