"""Lua for layout `feast`: a row is many fields of a hash, and its age a protobuf message."""

from __future__ import annotations

from typing import Final

WRITE: Final = b"""
-- KEYS: entity keys. ARGV: '1' to compare ('0': overwrite), seconds to keep (0: for ever), the hash fields (a msgpack
-- array, that of the event timestamp first), then per key its cells in the order of the fields, the same way.
local guarded, seconds = ARGV[1] == '1', tonumber(ARGV[2])
local fields = cmsgpack.unpack(ARGV[3])
local count, stamp = #fields, fields[1]
-- So many arguments fit on Lua's stack, whatever it was built with.
local most = 3000
local written, equal = 0, 0

-- A varint as two numbers that compare as the signed 64 bits do, which Lua's own numbers cannot hold.
local function varint(data, at)
  local high, low, scale = 0, 0, 1
  for place = 1, 10 do
    local byte = data:byte(at)
    if not byte then return nil end
    at = at + 1
    local bits = byte % 128
    if place <= 4 then low = low + bits * scale else high = high + bits * scale end
    if byte < 128 then
      if place == 10 and bits % 2 == 1 then high = high % 2 ^ 35 - 2 ^ 35 end
      return high, low, at
    end
    scale = place == 4 and 1 or scale * 128
  end
end

-- Seconds and nanoseconds of a Timestamp; nothing for other bytes.
local function moment(data)
  local high, low, nanos_high, nanos_low, at = 0, 0, 0, 0, 1
  while at <= #data do
    local field = data:byte(at)
    local a, b, after = varint(data, at + 1)
    if not a then return nil end
    if field == 8 then high, low = a, b elseif field == 16 then nanos_high, nanos_low = a, b else return nil end
    at = after
  end
  return high, low, nanos_high, nanos_low
end

local function is_newer(new, old)
  local a, b, c, d = moment(old)
  if not a then return true end
  local e, f, g, h = moment(new)
  if a ~= e then return e > a end
  if b ~= f then return f > b end
  if c ~= g then return g > c end
  return h >= d
end

local function is_there(key, cells)
  for first = 1, count, most do
    local last = math.min(first + most - 1, count)
    local found = redis.call('HMGET', key, unpack(fields, first, last))
    for place = first, last do
      if found[place - first + 1] ~= cells[place] then return false end
    end
  end
  return true
end

local pairs_of = {}
local function set(key, cells)
  for first = 1, count, most do
    local last = math.min(first + most - 1, count)
    local at = 0
    for place = first, last do
      pairs_of[at + 1], pairs_of[at + 2] = fields[place], cells[place]
      at = at + 2
    end
    redis.call('HSET', key, unpack(pairs_of, 1, at))
  end
end

for i, key in ipairs(KEYS) do
  local cells = cmsgpack.unpack(ARGV[i + 3])
  local wins, same = true, false
  if guarded then
    local old = redis.call('HGET', key, stamp)
    if old == cells[1] then
      same = is_there(key, cells)
      wins = not same
    elseif old then
      wins = is_newer(cells[1], old)
    end
  end
  if wins then
    set(key, cells)
    written = written + 1
  elseif same then
    equal = equal + 1
  end
  if wins or same then
    -- As Feast does, the key as a whole; but never sooner than another view's row needs.
    if seconds == 0 then
      redis.call('PERSIST', key)
    elseif redis.call('TTL', key) < seconds then
      redis.call('EXPIRE', key, seconds)
    end
  end
end
return {written, equal}
"""
"""Write each row unless the hash holds one with a newer event timestamp; a tie with other cells overwrites.

Answers how many rows were written and how many were there already.
"""

REMOVE: Final = b"""
-- KEYS: one entity key. ARGV: per view its hash fields (a msgpack array, that of the event timestamp first).
local removed = 0
for _, packed in ipairs(ARGV) do
  local fields = cmsgpack.unpack(packed)
  removed = removed + redis.call('HEXISTS', KEYS[1], fields[1])
  for first = 1, #fields, 3000 do
    redis.call('HDEL', KEYS[1], unpack(fields, first, math.min(first + 2999, #fields)))
  end
end
if removed > 0 then
  -- Without a view in it, what is left are features that a removed view had once.
  for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    if field:sub(1, 4) == '_ts:' then return removed end
  end
  redis.call('UNLINK', KEYS[1])
end
return removed
"""
"""Take views out of a hash, and the hash with its last view. Answers how many of them had a row in it."""
