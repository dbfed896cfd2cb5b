-- A token beyond a fence, or why there is none, or the right to log in.
-- KEYS: token, lease, fence, fault.
-- ARGV: fence that the token must be beyond; holder; the lease's life in ms; 1 to pass over a fault;
--       1 to take over a lease that this holder lost sight of; seconds that the fence is kept.
local function text(number) return string.format('%.0f', number) end
local stored = redis.call('HMGET', KEYS[1], 'fence', 'suspect', 'refusal', 'life', 'sealed')
local last, beyond = tonumber(stored[1] or '0') or 0, tonumber(ARGV[1])
if stored[1] and last > beyond then
  return {'stored', stored[1], stored[2], stored[3], stored[4], stored[5], text(redis.call('PTTL', KEYS[1]))}
end
if ARGV[4] == '0' then
  local fault = redis.call('GET', KEYS[4])
  if fault then return {'fault', fault, text(redis.call('PTTL', KEYS[4]))} end
end
local lease, held = redis.call('GET', KEYS[2]), 0
if lease then
  local number, holder = string.match(lease, '^(%d+):([^?]*)')
  if not (ARGV[5] == '1' and holder == ARGV[2]) then return {'busy', text(redis.call('PTTL', KEYS[2]))} end
  held = tonumber(number)
end
-- The counter may have been evicted: never below a number that somebody has seen.
local fence = math.max(redis.call('INCR', KEYS[3]), last + 1, beyond + 1, held + 1)
redis.call('SET', KEYS[3], text(fence), 'EX', ARGV[6])
redis.call('SET', KEYS[2], text(fence) .. ':' .. ARGV[2], 'PX', ARGV[3])
return {'lease', text(fence)}
