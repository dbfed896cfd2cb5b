-- What is stored, and how long it lives. KEYS: token.
local stored = redis.call('HMGET', KEYS[1], 'fence', 'suspect', 'refusal', 'life', 'sealed')
if not stored[1] then return {'none'} end
local left = string.format('%.0f', redis.call('PTTL', KEYS[1]))
return {'stored', stored[1], stored[2], stored[3], stored[4], stored[5], left}
