"""Lua that runs inside Redis, where comparing and writing cannot be separated by another writer."""

from __future__ import annotations

from typing import Final

_RETENTION: Final = b"""
-- KEYS: entity keys. ARGV: hash field, seconds to keep it (0: for ever), '1' where single fields can expire, then one
-- row per key.
local field, seconds, per_field = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1'
local per_key = seconds > 0 and not per_field

-- Seconds the key has left before a row is written: -2 where there is none, -1 for ever.
local function left(key)
  if per_key then return redis.call('TTL', key) end
end

local function keep(key, was_left, is_same)
  if per_key then
    -- Never sooner than another view's row needs, and never where one must live for ever: a key without an expiry gets
    -- one if this row is all there is in it.
    if was_left == -2 or (was_left >= 0 and was_left < seconds)
      or (was_left == -1 and redis.call('HLEN', key) == 1) then
      redis.call('EXPIRE', key, seconds)
    end
    return
  end
  -- What is left from a time when the key expired as a whole must not take this row along.
  redis.call('PERSIST', key)
  if seconds > 0 then
    redis.call('HEXPIRE', key, seconds, 'FIELDS', 1, field)
  elseif is_same and per_field then
    -- HSET would have done it.
    redis.call('HPERSIST', key, 'FIELDS', 1, field)
  end
end
"""

_VERDICT: Final = b"""
-- Whether a row wins over what the hash holds, and whether it is the same. Bytes 2 to 17 (Lua counts from 1) are its
-- event and created timestamps, big-endian and order-preserving. They are compared as numbers: Lua compares strings by
-- the server's locale.
local unpack_struct = struct.unpack
local function verdict(old, row)
  if old == row then return false, true end
  if not old or #old < 17 then return true, false end
  local a, b = unpack_struct('>I4I4', old, 2)
  local e, f = unpack_struct('>I4I4', row, 2)
  if a ~= e then return e > a, false end
  if b ~= f then return f > b, false end
  local c, d = unpack_struct('>I4I4', old, 10)
  local g, h = unpack_struct('>I4I4', row, 10)
  if c ~= g then return g > c, false end
  return d == h or h > d, false
end
"""

NEWER_WINS: Final = (
    _VERDICT
    + _RETENTION
    + b"""
local written, equal = 0, 0
for i, key in ipairs(KEYS) do
  local row = ARGV[i + 3]
  local wins, same = verdict(redis.call('HGET', key, field), row)
  if wins or same then
    local was_left = left(key)
    if wins then
      redis.call('HSET', key, field, row)
      written = written + 1
    else
      equal = equal + 1
    end
    keep(key, was_left, same)
  end
end
return {written, equal}
"""
)
"""Write each row unless the hash holds a newer one: newest event timestamp, then newest created timestamp.

A tie with other bytes overwrites, because a re-materialized new feature must land; a tie with the same bytes only
refreshes the expiry; an older row changes nothing. Answers how many rows were written and how many were there already.

Sent as EVAL each time: its text is a hundredth of a batch, it measures the same as EVALSHA, and a restarted server or a
new primary then needs no second attempt.
"""

NEWER_WINS_EACH: Final = (
    _VERDICT
    + b"""
-- The same for several views of each entity, whose rows lie in one hash: one look and one write per key. ARGV: 1 where
-- single fields can expire, how many views, per view its hash field and the seconds to keep it (0: for ever), then per
-- key a row of each view. Not for servers where keys expire as a whole.
local per_field, views = ARGV[1] == '1', tonumber(ARGV[2])
local fields, seconds, counts = {}, {}, {}
for view = 1, views do
  fields[view], seconds[view] = ARGV[2 * view + 1], tonumber(ARGV[2 * view + 2])
  counts[2 * view - 1], counts[2 * view] = 0, 0
end
local at = 2 + 2 * views
for _, key in ipairs(KEYS) do
  local olds = redis.call('HMGET', key, unpack(fields))
  local pairs_of, kept, forever = {}, {}, {}
  for view = 1, views do
    local row = ARGV[at + view]
    local wins, same = verdict(olds[view], row)
    if wins then
      pairs_of[#pairs_of + 1] = fields[view]
      pairs_of[#pairs_of + 1] = row
      counts[2 * view - 1] = counts[2 * view - 1] + 1
    elseif same then
      counts[2 * view] = counts[2 * view] + 1
    end
    if seconds[view] > 0 then
      if wins or same then kept[#kept + 1] = view end
    elseif same and per_field then
      forever[#forever + 1] = fields[view]
    end
  end
  at = at + views
  if #pairs_of > 0 then redis.call('HSET', key, unpack(pairs_of)) end
  -- As the script above does, for the same reasons.
  redis.call('PERSIST', key)
  for _, view in ipairs(kept) do redis.call('HEXPIRE', key, seconds[view], 'FIELDS', 1, fields[view]) end
  if #forever > 0 then redis.call('HPERSIST', key, 'FIELDS', #forever, unpack(forever)) end
end
return counts
"""
)
"""Answers [written, equal] of the first view, then of the second, and so on."""

LAST_WINS: Final = (
    _RETENTION
    + b"""
-- Takes and answers what the script above does.
for i, key in ipairs(KEYS) do
  local was_left = left(key)
  redis.call('HSET', key, field, ARGV[i + 3])
  keep(key, was_left, false)
end
return {#KEYS, 0}
"""
)
"""Write each row without looking (Feast's ``skip_dedup``). A third of the client's work of as many HSETs."""
