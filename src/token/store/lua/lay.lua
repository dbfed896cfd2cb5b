-- Lays the token of a login, if its lease is held still.
-- KEYS: token, lease, fault.
-- ARGV: fence, holder, suspect, refusal, life, sealed, left in ms, channel, credential.
local function tell(kind, fence)
  local event = '{"key":"%s","kind":"%s","fence":%.0f,"from":"%s"}'
  redis.call('PUBLISH', ARGV[8], string.format(event, ARGV[9], kind, fence, ARGV[2]))
end
local stored = redis.call('HMGET', KEYS[1], 'fence', 'sealed')
local last, fence = tonumber(stored[1] or '0') or 0, tonumber(ARGV[1])
-- The same call once more: its first answer was lost.
if last == fence and stored[2] == ARGV[6] then return {'kept'} end
local mine = redis.call('GET', KEYS[2]) == ARGV[1] .. ':' .. ARGV[2]
if mine then redis.call('DEL', KEYS[2]) end
if mine and last < fence then
  redis.call('DEL', KEYS[1], KEYS[3])
  redis.call('HSET', KEYS[1], 'fence', ARGV[1], 'suspect', ARGV[3], 'refusal', ARGV[4], 'life', ARGV[5], 'sealed', ARGV[6])
  redis.call('PEXPIRE', KEYS[1], ARGV[7])
  tell('token', fence)
  return {'kept'}
end
if stored[1] then
  redis.call('HSET', KEYS[1], 'suspect', '1')
  tell('token', last)
end
tell('release', fence)
return {'lost'}
