"""An answer of the retrieval plan as the JSON of ``POST /get-online-features``.

Written by hand around the values, because all but them is the same for many: the names are encoded once per plan,
statuses and event timestamps once per view and not per feature. Only a null in a column calls for statuses of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import groupby
from typing import Any, Final

import msgspec

from yummy_feast.errors import ValueTypeError
from yummy_feast.online.answer import Heading, OnlineFeatures, Rows, Status
from yummy_feast.serving.features.json_values import Finish, is_number, json_finisher, mend_floats

_encode: Final[Callable[[Any], bytes]] = msgspec.json.Encoder().encode
_OPEN: Final = b'{"values":'
# A tail begins with the bracket that ends the values and ends with the comma before the next column.
_NEXT: Final = b',{"values":['
_END: Final = b"]}"
_STATUSES: Final = {status.value: b'"%s"' % status.name.encode() for status in Status}
_ONLY_PRESENT: Final = {Status.PRESENT.value}
_NULL: Final = b"null"
_MINUTE: Final = 60_000_000
_SECONDS: Final = [b"%02d" % second for second in range(60)]


class Rendering:
    """What answers with one heading have in common, worked out once.

    runs: columns (from, to) that follow each other in one view and hold single numbers: of a single row they are
    encoded together.
    """

    __slots__ = ("_finishers", "_prefix", "_prefix_with_versions", "_rows_of", "_runs")

    def __init__(self, heading: Heading) -> None:
        names = _encode(heading.names)
        # A version of 0 is left out, as Feast does.
        views = [{"name": name, "version": version} if version else {"name": name} for name, version in heading.views]
        self._prefix = b'{"metadata":{"feature_names":%b},"results":[' % names
        self._prefix_with_versions = (
            b'{"metadata":{"feature_names":%b,"feature_view_metadata":%b},"results":[' % (names, _encode(views))
            if views
            else self._prefix
        )
        self._rows_of = heading.rows_of
        self._finishers: tuple[Finish | None, ...] = tuple(json_finisher(kind) for kind in heading.kinds)
        self._runs = tuple(_runs(heading))

    def render(self, answer: OnlineFeatures, *, versions: bool = False) -> bytes:
        """The whole body. ValueTypeError for a stored value that is damaged."""
        out = [self._prefix_with_versions if versions else self._prefix]
        if answer.length == 1:
            self._render_row(answer, out)
        else:
            tails = [_tail(_statuses(rows.statuses), rows) for rows in answer.rows]
            self._render_columns(answer, tails, out, 0, len(self._rows_of))
        # Each column ends with a comma, the last one too.
        out[-1] = out[-1][:-1] if len(out) > 1 else out[0]
        out.append(_END)
        return b"".join(out)

    def _render_row(self, answer: OnlineFeatures, out: list[bytes]) -> None:
        tails = [_tail_of_one(rows.statuses[0], rows.event_times[0]) for rows in answer.rows]
        row = [column[0] for column in answer.values]
        for start, stop, rows, is_run in self._runs:
            if is_run:
                text = _encode(row[start:stop])
                # A null, or what is no JSON number, which looks the same.
                if _NULL not in text:
                    tail = tails[rows]
                    out += (_OPEN, text[:-1].replace(b",", tail[:-1] + _NEXT), tail)
                    continue
            self._render_columns(answer, tails, out, start, stop)

    def _render_columns(
        self, answer: OnlineFeatures, tails: Sequence[bytes], out: list[bytes], start: int, stop: int
    ) -> None:
        rows_of, finishers, encode = self._rows_of, self._finishers, _encode
        columns = answer.values if stop - start == len(rows_of) else answer.values[start:stop]
        add = out.append
        for at, values in enumerate(columns, start):
            finish = finishers[at]
            tail = tails[rows_of[at]]
            if finish is None:
                text = encode(values)
            else:
                text = encode([None if value is None else finish(value) for value in values])
            if _NULL in text:
                if finish is None:
                    text = encode(mend_floats(values))
                if None in values:
                    tail = _tail(_statuses(answer.statuses_of(at)), answer.rows[rows_of[at]])
            add(_OPEN)
            add(text[:-1])
            add(tail)


def _runs(heading: Heading) -> list[tuple[int, int, int, bool]]:
    """(from, to, which rows, whether they are a run) of the columns, in order."""
    found, start = [], 0
    columns = zip(heading.rows_of, map(is_number, heading.kinds), strict=True)
    for (rows, number), members in groupby(columns):
        stop = start + len(list(members))
        found.append((start, stop, rows, number))
        start = stop
    return found


def _statuses(statuses: Sequence[int]) -> bytes:
    if set(statuses) == _ONLY_PRESENT:
        return _all_present(len(statuses))
    return b",".join([_STATUSES[status] for status in statuses])


@lru_cache(maxsize=1024)
def _all_present(length: int) -> bytes:
    return b",".join([_STATUSES[Status.PRESENT]] * length)


def _tail(statuses: bytes, rows: Rows) -> bytes:
    """What follows the values of a column, from the bracket behind them to the comma before the next column."""
    times = rows.event_times
    if len(set(times)) == 1:
        moments = b",".join([_moment(times[0])] * len(times))
    else:
        moments = b",".join([_moment(time) for time in times])
    return b'],"statuses":[%b],"event_timestamps":[%b]},' % (statuses, moments)


@lru_cache(maxsize=16_384)
def _tail_of_one(status: int, time: int) -> bytes:
    return _tail(_STATUSES[status], Rows((status,), (time,)))


@lru_cache(maxsize=16_384)
def _moment(microseconds: int) -> bytes:
    """RFC 3339 in UTC, with no fraction, three digits or six of it, as protobuf writes it."""
    minute, rest = divmod(microseconds, _MINUTE)
    second, fraction = divmod(rest, 1_000_000)
    text = b'"' + _minute(minute) + _SECONDS[second]
    if not fraction:
        return text + b'Z"'
    milliseconds, left = divmod(fraction, 1000)
    return text + (b'.%06dZ"' % fraction if left else b'.%03dZ"' % milliseconds)


@lru_cache(maxsize=4096)
def _minute(minutes: int) -> bytes:
    try:
        return datetime.fromtimestamp(minutes * 60, UTC).isoformat()[: len("2026-11-20T12:00:")].encode()
    except (OverflowError, ValueError, OSError):
        raise ValueTypeError(
            f"an event timestamp of {minutes} minutes since 1970 is outside the years 1 to 9999"
        ) from None
