"""The point-in-time join as one pass over the features, with memory for the entity rows only.

Sort the entity rows by (key, time). A feature row first becomes visible to the earliest entity row of its key that is
not older than it: its slot, found by binary search. Each slot remembers the best feature row that fell into it:
newest event time, then newest created time, then last in the source. A running maximum along each key's slots then
gives every entity row the best of everything visible to it. Features are never sorted or held, so memory does not
depend on how many there are, and a key with a long history costs no more than many keys with short ones.

With the created cut-off a feature becomes visible at the later of its event and created times; nothing else changes,
because the running maximum compares event times, not slot order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from yummy_feast.offline.times import MAX, MISSING, Int64s


@dataclass(frozen=True, slots=True)
class Located:
    """Feature rows that are visible to at least one entity row, with the slot each falls into; all arrays of shape
    (n,).
    """

    slots: Int64s
    times: Int64s
    created: Int64s | None
    rows: Int64s


class Slots:
    """State of one view's join. ``locate`` may run in several threads at once; ``offer`` must not."""

    def __init__(self, codes: Int64s, bounds: Int64s, *, with_created: bool, in_order: bool) -> None:
        """codes: key code per entity row, -1 = matches nothing; bounds: newest visible instant per entity row,
        ``MISSING`` = null; in_order: features become visible at their event time, so that a later slot always holds
        later events.
        """
        self._entity_rows = len(codes)
        self._in_order = in_order
        self._active = np.flatnonzero((codes >= 0) & (bounds != MISSING))
        codes, bounds = codes[self._active], bounds[self._active]
        self._axis = _Axis(bounds, int(codes.max()) + 1 if len(codes) else 1)
        keyed = self._axis.combine(codes, self._axis.of_bounds(bounds))
        order = np.argsort(keyed)
        self._keyed = np.append(keyed[order], -1)
        self._active = self._active[order]
        n = len(keyed)
        self.times = np.full(n, MISSING, np.int64)
        self.created = np.full(n, MISSING, np.int64) if with_created else None
        self.rows = np.full(n, -1, np.int64)

    @property
    def newest(self) -> int:
        """No feature after this instant is visible to anyone."""
        return self._axis.high

    def locate(self, codes: Int64s, times: Int64s, created: Int64s | None, visible: Int64s, rows: Int64s) -> Located:
        """The slots of a batch. visible: when each feature row becomes visible; rows with code -1 or time ``MISSING``
        drop out.
        """
        wanted = np.flatnonzero((codes >= 0) & (visible <= self._axis.high) & (times != MISSING))
        if len(wanted) < len(codes):
            codes, visible = codes[wanted], visible[wanted]
        keyed = self._axis.combine(codes, self._axis.of_features(visible))
        # Sorted needles walk the sorted haystack in order: seven times faster than random probes.
        order = np.argsort(keyed)
        keyed = keyed[order]
        slots = np.searchsorted(self._keyed[:-1], keyed)
        same_key = np.flatnonzero(self._axis.code(self._keyed[slots]) == self._axis.code(keyed))
        chosen = wanted[order[same_key]]
        return Located(slots[same_key], times[chosen], None if created is None else created[chosen], rows[chosen])

    def offer(self, found: Located) -> None:
        """Let each slot keep the best of what it has and what is offered."""
        slots, times, created, rows = found.slots, found.times, found.created, found.rows
        before = self.times[slots]
        better = np.flatnonzero(times >= before)
        if len(better) < len(slots):
            slots, times, rows, before = slots[better], times[better], rows[better], before[better]
            created = None if created is None else created[better]
        np.maximum.at(self.times, slots, times)
        now = self.times[slots]
        rose = slots[now > before]
        self.rows[rose] = -1
        best = np.flatnonzero(times == now)
        slots, rows = slots[best], rows[best]
        if self.created is not None and created is not None:
            self.created[rose] = MISSING
            created, before = created[best], self.created[slots]
            np.maximum.at(self.created, slots, created)
            now = self.created[slots]
            self.rows[slots[now > before]] = -1
            best = np.flatnonzero(created == now)
            slots, rows = slots[best], rows[best]
        np.maximum.at(self.rows, slots, rows)

    def resolve(self) -> tuple[Int64s, Int64s]:
        """For each entity row the address of its feature row (-1 = none) and that row's event time; both of shape
        (entity rows,).
        """
        n = len(self.rows)
        by_rank = self._ranked()
        rank = np.full(n, -1, np.int64)
        rank[by_rank] = np.arange(len(by_rank))
        # Each key's stretch of slots gets its own range of numbers, so that one running maximum never crosses into
        # the next key.
        starts = (
            np.r_[True, self._axis.code(self._keyed[1:n]) != self._axis.code(self._keyed[: n - 1])]
            if n
            else np.zeros(0, bool)
        )
        lift = np.cumsum(starts) * (n + 1)
        best = np.maximum.accumulate(rank + lift) - lift if n else rank
        rows, times = np.full(self._entity_rows, -1, np.int64), np.full(self._entity_rows, MISSING, np.int64)
        hit = np.flatnonzero(best >= 0)
        slot = by_rank[best[hit]]
        rows[self._active[hit]] = self.rows[slot]
        times[self._active[hit]] = self.times[slot]
        return rows, times

    def _ranked(self) -> Int64s:
        """Filled slots from the worst feature row to the best; along one key's slots is enough."""
        filled = np.flatnonzero(self.rows >= 0)
        if self._in_order:
            return filled
        keys = [self.rows[filled], self.times[filled]]
        if self.created is not None:
            keys.insert(1, self.created[filled])
        return filled[np.lexsort(keys)]


class _Axis:
    """Times as small non-negative numbers that leave room for a key code in the same int64.

    Usually the distance from the oldest bound; when that is too wide, the rank among the distinct bounds, which is
    just as exact because a feature only needs to know which bounds it is not newer than.
    """

    def __init__(self, bounds: Int64s, codes: int) -> None:
        self.low = int(bounds.min()) if len(bounds) else 0
        self.high = int(bounds.max()) if len(bounds) else MISSING
        self._distinct: Int64s | None = None
        room = 62 - codes.bit_length()
        span = max(self.high - self.low, 0)
        if span.bit_length() > room or span > MAX // 2:
            self._distinct = np.unique(bounds)
            span = len(self._distinct)
        self._bits = max(span.bit_length(), 1)

    def of_bounds(self, bounds: Int64s) -> Int64s:
        return bounds - self.low if self._distinct is None else np.searchsorted(self._distinct, bounds)

    def of_features(self, visible: Int64s) -> Int64s:
        return (
            np.maximum(visible, self.low) - self.low
            if self._distinct is None
            else np.searchsorted(self._distinct, visible)
        )

    def combine(self, codes: Int64s, position: Int64s) -> Int64s:
        return (codes << self._bits) | position

    def code(self, keyed: Int64s) -> Int64s:
        return keyed >> self._bits
