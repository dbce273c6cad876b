"""Lua that runs inside Redis, where comparing and writing cannot be separated by another writer."""

from __future__ import annotations

from typing import Final

NEWER_WINS: Final = b"""
-- KEYS: entity keys. ARGV: hash field, seconds to live (0: for ever), then one row per key.
-- Bytes 2 to 17 of a row (Lua counts from 1) are its event and created timestamps, big-endian and order-preserving.
-- They are compared as numbers: Lua compares strings by the server's locale.
local field, ttl = ARGV[1], tonumber(ARGV[2])
local written, equal = 0, 0
for i, key in ipairs(KEYS) do
  local row = ARGV[i + 2]
  local old = redis.call('HGET', key, field)
  local wins, same = true, false
  if old == row then
    wins, same = false, true
  elseif old and #old >= 17 and old:sub(2, 17) ~= row:sub(2, 17) then
    local a, b, c, d = struct.unpack('>I4I4I4I4', old, 2)
    local e, f, g, h = struct.unpack('>I4I4I4I4', row, 2)
    if a ~= e then wins = e > a
    elseif b ~= f then wins = f > b
    elseif c ~= g then wins = g > c
    else wins = h > d end
  end
  if wins then
    redis.call('HSET', key, field, row)
    written = written + 1
  elseif same then
    equal = equal + 1
  end
  if ttl > 0 and (wins or same) then redis.call('EXPIRE', key, ttl) end
end
return {written, equal}
"""
"""Write each row unless the hash holds a newer one: newest event timestamp, then newest created timestamp.

A tie with other bytes overwrites, because a re-materialized new feature must land; a tie with the same bytes only
refreshes the expiry; an older row changes nothing. Answers how many rows were written and how many were there already.

Sent as EVAL each time: its text is a hundredth of a batch, it measures the same as EVALSHA, and a restarted server or a
new primary then needs no second attempt.
"""

LAST_WINS: Final = b"""
-- Takes and answers what the script above does.
local field, ttl = ARGV[1], tonumber(ARGV[2])
for i, key in ipairs(KEYS) do
  redis.call('HSET', key, field, ARGV[i + 2])
  if ttl > 0 then redis.call('EXPIRE', key, ttl) end
end
return {#KEYS, 0}
"""
"""Write each row without looking (Feast's ``skip_dedup``). A third of the client's work of as many HSETs."""
