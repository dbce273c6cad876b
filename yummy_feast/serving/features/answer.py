"""An answer of the retrieval plan as the JSON of ``POST /get-online-features``.

Written by hand around the values, because all but them is the same for many: the names are encoded once per plan,
statuses and event timestamps once per view and not per feature. Only a null in a column calls for statuses of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from yummy_feast.errors import ValueTypeError
from yummy_feast.online.answer import Heading, OnlineFeatures, Rows, Status
from yummy_feast.serving.features.json_values import Finish, is_float, is_number, json_finisher, mend_floats

if TYPE_CHECKING:
    from yummy_feast.online.plan import OnlinePlan
    from yummy_feast.online.retrieval import OnlineRow
    from yummy_feast.serving.features.tally import Tally

_encode: Final[Callable[[Any], bytes]] = msgspec.json.Encoder().encode
_OPEN: Final = b'{"values":'
_END: Final = b"]}"
_STATUSES: Final = {status.value: b'"%s"' % status.name.encode() for status in Status}
_ONLY_PRESENT: Final = {Status.PRESENT.value}
_NOT_FOUND: Final = Status.NOT_FOUND.value
_NULL: Final = b"null"
_MINUTE: Final = 60_000_000
_SECONDS: Final = [b"%02d" % second for second in range(60)]


class Rendering:
    """What answers with one heading have in common, worked out once.

    Args:
        heading: names, kinds and rows of the columns.
        plan: what the answers are read with. Without on-demand views a single row needs no columns, see ``render_row``.
        tally: is told of each null.
    """

    __slots__ = (
        "_echoes",
        "_finishers",
        "_is_float",
        "_is_whole",
        "_prefix",
        "_prefix_with_versions",
        "_rows_of",
        "_runs",
        "_tally",
    )

    def __init__(self, heading: Heading, plan: OnlinePlan | None = None, tally: Tally | None = None) -> None:
        self._tally = tally
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
        # Kind 0, a join key of no known type, may hold anything.
        self._is_float = tuple(kind == 0 or is_float(kind) for kind in heading.kinds)
        self._is_whole = tuple(is_number(kind) and not is_float(kind) for kind in heading.kinds)
        self._echoes, self._runs = _runs(heading, plan, self._finishers) if plan is not None else ((), ())

    def render(self, answer: OnlineFeatures, *, versions: bool = False) -> bytes:
        """The whole body. ValueTypeError for a stored value that is damaged."""
        out = [self._prefix_with_versions if versions else self._prefix]
        self._render_columns(answer, out)
        return _closed(out)

    def render_row(self, answer: OnlineRow, *, versions: bool = False) -> bytes:
        """The same for a single row that was read without on-demand views."""
        rows, statuses, times = answer.rows, answer.statuses, answer.times
        out = [self._prefix_with_versions if versions else self._prefix]
        for finish, value in zip(self._echoes, answer.echoed, strict=True):
            _render_cell(out, value, finish, Status.PRESENT, 0)
        for run in self._runs:
            view = run.view
            row = rows[view]
            if row is None:
                out.append(run.absent)
                continue
            status = statuses[view]
            if run.is_numbers:
                text = _encode(row if run.is_whole else row[run.start : run.stop])
                # A null, or what is no JSON number, which looks the same.
                if _NULL not in text:
                    tail, between = _tails_of_one(status, times[view])
                    out += (_OPEN, text.replace(b",", between), tail)
                    continue
            cells = row[run.start : run.stop]
            if self._tally is not None and status == Status.PRESENT:
                self._tally.nulls += cells.count(None)
            for finish, value in zip(run.finishers, cells, strict=True):
                _render_cell(out, value, finish, status, times[view])
        return _closed(out)

    def _render_columns(self, answer: OnlineFeatures, out: list[bytes]) -> None:
        rows_of, finishers, encode = self._rows_of, self._finishers, _encode
        is_float, is_whole = self._is_float, self._is_whole
        tails = _tails(answer.rows)
        absent = [rows.statuses.count(_NOT_FOUND) for rows in answer.rows]
        add = out.append
        for at, values in enumerate(answer.values):
            finish = finishers[at]
            rows = rows_of[at]
            tail = tails[rows]
            if finish is None:
                text = encode(values)
            else:
                text = encode([None if value is None else finish(value) for value in values])
            nulls = text.count(_NULL)
            if nulls:
                if not is_whole[at]:
                    # Text may hold the word, and a float that is no JSON number is written so.
                    written, nulls = nulls, values.count(None)
                    if is_float[at] and written != nulls:
                        text = encode(mend_floats(values))
                # As many as rows that are not there: then no cell has a status of its own.
                if nulls != absent[rows]:
                    statuses = answer.statuses_of(at)
                    tail = _tail(_statuses(statuses), answer.rows[rows])
                    if self._tally is not None:
                        self._tally.nulls += statuses.count(Status.NULL_VALUE)
            add(_OPEN)
            add(text)
            add(tail)


class _Run(NamedTuple):
    """Columns that follow each other in the answer and in one view.

    start, stop: of the view's features. is_whole: all of them. is_numbers: single numbers all, which are encoded
    together. absent: the columns of a row that is not there.
    """

    view: int
    start: int
    stop: int
    is_whole: bool
    is_numbers: bool
    absent: bytes
    finishers: tuple[Finish | None, ...]


def _runs(
    heading: Heading, plan: OnlinePlan, finishers: Sequence[Finish | None]
) -> tuple[tuple[Finish | None, ...], tuple[_Run, ...]]:
    """The finishers of the join keys, and the runs of the columns behind them."""
    echoed = len(heading.names) - len(plan.columns)
    first = list(accumulate((len(view.features) for view in plan.views), initial=0))
    places = [(column.rows - 1, column.position - first[column.rows - 1]) for column in plan.columns]
    runs: list[_Run] = []
    begin = 0
    for end in range(1, len(places) + 1):
        (view, start), (_, last) = places[begin], places[end - 1]
        if end < len(places) and places[end] == (view, last + 1):
            continue
        kinds = heading.kinds[echoed + begin : echoed + end]
        width = len(plan.views[view].features)
        runs.append(
            _Run(
                view,
                start,
                last + 1,
                (start, last + 1) == (0, width),
                all(map(is_number, kinds)),
                _ABSENT * (end - begin),
                tuple(finishers[echoed + begin : echoed + end]),
            )
        )
        begin = end
    return tuple(finishers[:echoed]), tuple(runs)


def _closed(out: list[bytes]) -> bytes:
    # Each column ends with a comma, the last one too.
    if len(out) > 1:
        out[-1] = out[-1][:-1]
    out.append(_END)
    return b"".join(out)


def _render_cell(out: list[bytes], value: Any, finish: Finish | None, status: int, time: int) -> None:
    if value is None:
        text = b"[null]"
        if status == Status.PRESENT:
            status = Status.NULL_VALUE
    else:
        text = _encode((value if finish is None else finish(value),))
        if finish is None and text == b"[null]":
            text = _encode(mend_floats((value,)))
    out += (_OPEN, text, _tails_of_one(status, time)[0])


def _statuses(statuses: Sequence[int]) -> bytes:
    if set(statuses) == _ONLY_PRESENT:
        return _all_present(len(statuses))
    return b",".join([_STATUSES[status] for status in statuses])


@lru_cache(maxsize=1024)
def _all_present(length: int) -> bytes:
    return b",".join([_STATUSES[Status.PRESENT]] * length)


def _tails(views: Sequence[Rows]) -> list[bytes]:
    """The tail of each view. Views of one source often have the same rows: those are written once."""
    tails: list[bytes] = []
    last: Rows | None = None
    for rows in views:
        tails.append(tails[-1] if rows == last else _tail(_statuses(rows.statuses), rows))
        last = rows
    return tails


def _tail(statuses: bytes, rows: Rows) -> bytes:
    """What follows the values of a column, up to the comma before the next column."""
    times = rows.event_times
    if len(set(times)) == 1:
        moments = b",".join([_moment(times[0])] * len(times))
    else:
        moments = b",".join([_moment(time) for time in times])
    return b',"statuses":[%b],"event_timestamps":[%b]},' % (statuses, moments)


@lru_cache(maxsize=16_384)
def _tails_of_one(status: int, time: int) -> tuple[bytes, bytes]:
    """The tail of a column of one row; and what stands between the values of two such columns."""
    tail = _tail(_STATUSES[status], Rows((status,), (time,)))
    return tail, b"]" + tail + _OPEN + b"["


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


_ABSENT: Final = _OPEN + b"[null]" + _tails_of_one(Status.NOT_FOUND, 0)[0]
