-- Gives a lease back without a token.
-- KEYS: token, lease, fault.
-- ARGV: fence, holder, the fault, its pause in ms, 1 if the vendor may have heard, channel, credential.
local function tell(kind, fence)
  local event = '{"key":"%s","kind":"%s","fence":%.0f,"from":"%s"}'
  redis.call('PUBLISH', ARGV[6], string.format(event, ARGV[7], kind, fence, ARGV[2]))
end
local lease, own = redis.call('GET', KEYS[2]), ARGV[1] .. ':' .. ARGV[2]
local mine = lease == own or lease == own .. '?'
if mine then
  redis.call('DEL', KEYS[2])
  if tonumber(ARGV[4]) > 0 then redis.call('SET', KEYS[3], ARGV[3], 'PX', ARGV[4]) end
end
local last = redis.call('HGET', KEYS[1], 'fence')
if ARGV[5] == '1' and last then
  redis.call('HSET', KEYS[1], 'suspect', '1')
  tell('token', tonumber(last) or 0)
end
-- The login of whoever holds the lease now may have come before this one.
if ARGV[5] == '1' and lease and not mine and string.sub(lease, -1) ~= '?' then
  redis.call('SET', KEYS[2], lease .. '?', 'KEEPTTL')
end
tell('release', tonumber(ARGV[1]))
return {mine and 'kept' or 'lost'}
