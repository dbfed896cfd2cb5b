-- Says that whoever holds a lease is at work still. KEYS: lease. ARGV: fence, holder, the lease's life in ms.
local lease, own = redis.call('GET', KEYS[1]), ARGV[1] .. ':' .. ARGV[2]
if lease ~= own and lease ~= own .. '?' then return {'lost'} end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {'kept'}
