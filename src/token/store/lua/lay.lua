-- Lays the token of a login, if its lease is held still.
-- KEYS: token, lease, fault.
-- ARGV: fence, holder, suspect, refusal, life, sealed, left in ms, channel, credential.
local function tell(kind, fence)
  local event = '{"key":"%s","kind":"%s","fence":%.0f,"from":"%s"}'
  redis.call('PUBLISH', ARGV[8], string.format(event, ARGV[9], kind, fence, ARGV[2]))
end
local stored = redis.call('HMGET', KEYS[1], 'fence', 'sealed', 'suspect')
local last, fence = tonumber(stored[1] or '0') or 0, tonumber(ARGV[1])
-- The same call once more: its first answer was lost.
if last == fence and stored[2] == ARGV[6] then return {stored[3] == ARGV[3] and 'kept' or 'lost'} end
local lease, own = redis.call('GET', KEYS[2]), ARGV[1] .. ':' .. ARGV[2]
local doubted = lease == own .. '?'
local mine = doubted or lease == own
if mine then redis.call('DEL', KEYS[2]) end
if mine and last < fence then
  local suspect = doubted and '1' or ARGV[3]
  redis.call('DEL', KEYS[1], KEYS[3])
  redis.call('HSET', KEYS[1], 'fence', ARGV[1], 'suspect', suspect, 'refusal', ARGV[4], 'life', ARGV[5], 'sealed', ARGV[6])
  redis.call('PEXPIRE', KEYS[1], ARGV[7])
  tell('token', fence)
  return {doubted and 'lost' or 'kept'}
end
if stored[1] then
  redis.call('HSET', KEYS[1], 'suspect', '1')
  tell('token', last)
end
-- The login of whoever holds the lease now may have come before this one.
if lease and not mine and string.sub(lease, -1) ~= '?' then redis.call('SET', KEYS[2], lease .. '?', 'KEEPTTL') end
tell('release', fence)
return {'lost'}
