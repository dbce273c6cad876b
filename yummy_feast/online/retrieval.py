"""The one place that asks Redis for features: the SDK, the servers and `verify` all read through here.

A read is: columns of a request -> one HMGET per distinct entity key and group of views, all in one round trip -> rows,
found by the layout's readers, with the statuses that ``statuses`` decides -> columns.
"""

from __future__ import annotations

import asyncio
import time
import warnings
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from yummy_feast.errors import RowDecodeError
from yummy_feast.online.answer import OnlineFeatures, finish_all, finisher_of
from yummy_feast.online.hmget import HashRead, Reply, by_read, packed_reads, read_hashes, read_hashes_async
from yummy_feast.online.layouts.base import Layout, Row, Schemas, Wanted
from yummy_feast.online.on_demand import compute
from yummy_feast.online.plan import Binding, Group, OnlinePlan
from yummy_feast.online.request import cast_keys, plain_values
from yummy_feast.online.schemas import UnmetSchemaError
from yummy_feast.online.statuses import as_columns, named, views_of_many, views_of_one

if TYPE_CHECKING:
    from yummy_feast.online.loops import AnyMux
    from yummy_feast.online.redis import Client
    from yummy_feast.online.schemas import SchemaBook

_T = TypeVar("_T")
StoredRow = tuple[int, Row]
"""A row's event timestamp (microseconds since 1970) and its stored values."""


class Question(NamedTuple):
    """A request bound to a plan: everything but the answer of Redis, so that any connection can carry it.

    reads: per group of the plan the hashes to read.
    orders: per group, which of its hashes each row of the request wants (-1: none, its join key is null); None for one
    to one.
    """

    plan: OnlinePlan
    binding: Binding
    reads: list[tuple[HashRead, list[bytes]]]
    orders: list[list[int] | None]
    columns: Mapping[str, list[Any]]
    keys: dict[tuple[str, int], list[Any]]
    length: int


class OnlineRow(NamedTuple):
    """An answer of one row, not yet laid out in columns: what a server writes fastest.

    echoed: the join keys, in the order of the heading.
    rows, statuses, times: per view its stored values (None where there is no row), status and event timestamp
    (microseconds since 1970; 0 where there is no row).
    """

    echoed: list[Any]
    rows: list[Row | None]
    statuses: list[int]
    times: list[int]


def ask(plan: OnlinePlan, columns: Mapping[str, list[Any]], length: int, *, strict: bool = False) -> Question:
    """What to read for ``length`` rows of ``columns`` (see ``request.to_columns``); touches no socket.

    Raises OnlineRequestError for a request that cannot be answered; under ``strict`` also for columns that nothing
    uses.
    """
    names = tuple(columns)
    if names not in plan.bindings:
        columns = _rename_entities(plan, columns)
        names = tuple(columns)
    binding = plan.bind(names, strict=strict)
    keys: dict[tuple[str, int], list[Any]] = {}
    reads, orders = [], []
    for group in plan.groups:
        for key in group.keys:
            place = (key.column, key.kind)
            if place not in keys:
                keys[place] = cast_keys(key.column, columns[key.column], key.kind)
        found, order = _hashes_of(group, keys, length)
        reads.append((group.read, found))
        orders.append(order)
    return Question(plan, binding, reads, orders, columns, keys, length)


def answer_row(question: Question, replies: Sequence[Sequence[Reply]], schemas: Schemas, now: int) -> OnlineRow:
    """``answer`` for a question of one row without on-demand views."""
    rows, statuses, times = views_of_one(question.plan, replies, schemas, now)
    echoed = [_echo(question, name, kind)[0] for name, kind in question.binding.echoes]
    return OnlineRow(echoed, rows, statuses, times)


def answer(question: Question, replies: Sequence[Sequence[Reply]], schemas: Schemas, now: int) -> OnlineFeatures:
    """The answer made of Redis' ``replies`` to ``question.reads``; ``now`` in microseconds since 1970 is what ages are
    measured from.

    Raises RowDecodeError for damaged rows, and what on-demand transformations raise.
    """
    plan, length = question.plan, question.length
    by_view, rows = (
        views_of_many(plan, question.orders, replies, schemas, now, length)
        if length > 1
        else as_columns(plan, *views_of_one(plan, replies, schemas, now))
    )
    echoed = [_echo(question, name, kind) for name, kind in question.binding.echoes]
    values = [column for columns in by_view for column in columns]
    if plan.on_demand:
        given = {
            name: finish_all(stored, finisher_of(kind))
            for (name, kind), stored in zip(question.binding.echoes, echoed, strict=True)
        }
        for name in question.binding.request_data:
            given[name] = plain_values(name, question.columns[name])
        for view in plan.on_demand:
            values += compute(view, given, by_view, length)
    return OnlineFeatures(question.binding.heading, [*echoed, *plan.take(values)], rows, length)


def read(
    plan: OnlinePlan,
    client: Client,
    schemas: Schemas,
    columns: Mapping[str, list[Any]],
    length: int,
    *,
    strict: bool = False,
) -> OnlineFeatures:
    """Online features for ``length`` rows of ``columns``, in the rows' order, after one round trip.

    Raises as ``ask`` and ``answer``, and what redis-py raises: the caller knows the address.
    """
    question = ask(plan, columns, length, strict=strict)
    return answer(question, read_hashes(client, question.reads), schemas, time.time_ns() // 1000)


async def read_async(
    plan: OnlinePlan,
    mux: AnyMux,
    book: SchemaBook,
    columns: Mapping[str, list[Any]],
    length: int,
    *,
    strict: bool = False,
) -> OnlineFeatures:
    """The same over the running loop's connection: nothing blocks, and no thread is used."""
    question = ask(plan, columns, length, strict=strict)
    return await answer_async(question, await fetch_async(question, mux), mux, book)


def fetch_async(question: Question, mux: AnyMux) -> Awaitable[list[list[Reply]]]:
    """Redis' replies to ``question``, after one round trip. Raises what redis-py raises."""
    return read_hashes_async(mux, question.reads)


def packed(question: Question) -> tuple[bytes, int]:
    """The commands of ``question`` for whoever sends them without ``fetch_async``, and how many replies they have."""
    return packed_reads(question.reads)


def unpacked(question: Question, replies: list[Any]) -> list[list[Reply]] | None:
    """The replies to ``packed`` as ``fetch_async`` gives them; None where one of them is an error."""
    for reply in replies:
        if isinstance(reply, Exception):
            return None
    return by_read(question.reads, replies)


async def answer_row_async(
    question: Question, replies: Sequence[Sequence[Reply]], mux: AnyMux, book: SchemaBook
) -> OnlineRow:
    """``answer_row``, in the same way as ``answer_async``."""
    now = time.time_ns() // 1000
    try:
        return answer_row(question, replies, book.met, now)
    except UnmetSchemaError:
        return await _knowing_schemas(mux, book, lambda met: answer_row(question, replies, met, now))


async def answer_async(
    question: Question, replies: Sequence[Sequence[Reply]], mux: AnyMux, book: SchemaBook, *, in_thread: bool = False
) -> OnlineFeatures:
    """``answer`` with the ages of now, and with schemas that are asked of Redis where this process has not met them.

    in_thread: leave the loop free meanwhile, for answers that take long.
    """
    now = time.time_ns() // 1000
    return await _knowing_schemas(mux, book, lambda met: answer(question, replies, met, now), in_thread)


def read_rows(
    client: Client,
    layout: Layout,
    schemas: Schemas,
    stored_as: bytes,
    wanted: Wanted,
    keys: Sequence[bytes | None],
) -> list[StoredRow | None]:
    """One view's rows by Redis key, whatever their age; None where there is no row.

    ``wanted``: (feature, Feast type number). Raises as ``read``.
    """
    fields = layout.fields(stored_as, [name for name, _ in wanted])
    known = [key for key in keys if key is not None]
    [replies] = read_hashes(client, [(HashRead(fields), known)])
    return rows_of(layout, schemas, stored_as, wanted, keys, replies)


def read_each(
    client: Client,
    layout: Layout,
    schemas: Schemas,
    stored_as: bytes,
    wanted: Wanted,
    keys: Sequence[bytes | None],
) -> list[tuple[int, tuple[Any, ...]] | RowDecodeError | None]:
    """``read_rows`` for those who go on when rows are damaged: the error stands in the place of the row."""
    fields = layout.fields(stored_as, [name for name, _ in wanted])
    known = [key for key in keys if key is not None]
    [replies] = read_hashes(client, [(HashRead(fields), known)])

    def apart(start: int, stop: int) -> list[tuple[int, tuple[Any, ...]] | RowDecodeError | None]:
        try:
            return list(rows_of(layout, schemas, stored_as, wanted, known[start:stop], replies[start:stop]))
        except RowDecodeError as error:
            if stop - start == 1:
                return [error]
        middle = (start + stop) // 2
        return apart(start, middle) + apart(middle, stop)

    found = iter(apart(0, len(known)))
    return [None if key is None else next(found) for key in keys]


async def read_rows_async(
    mux: AnyMux,
    layout: Layout,
    book: SchemaBook,
    stored_as: bytes,
    wanted: Wanted,
    keys: Sequence[bytes | None],
) -> list[StoredRow | None]:
    """The same over the running loop's connection."""
    fields = layout.fields(stored_as, [name for name, _ in wanted])
    known = [key for key in keys if key is not None]
    [replies] = await read_hashes_async(mux, [(HashRead(fields), known)])
    return await _knowing_schemas(mux, book, lambda met: rows_of(layout, met, stored_as, wanted, keys, replies))


async def _knowing_schemas(
    mux: AnyMux, book: SchemaBook, decode: Callable[[Schemas], _T], in_thread: bool = False
) -> _T:
    """What ``decode`` makes of its rows once every schema among them is known."""
    while True:
        try:
            return await asyncio.to_thread(decode, book.met) if in_thread else decode(book.met)
        except UnmetSchemaError as unmet:
            [reply] = await mux.execute([book.question(unmet.view, unmet.fingerprint)])
            if isinstance(reply, Exception):
                raise reply from None
            book.learn_one(unmet.view, unmet.fingerprint, reply)


def rows_of(
    layout: Layout,
    schemas: Schemas,
    stored_as: bytes,
    wanted: Wanted,
    keys: Sequence[bytes | None],
    replies: Sequence[Reply],
) -> list[StoredRow | None]:
    """What ``read_rows`` answers, out of the replies to the fields ``layout.fields`` names for those keys not None."""
    reader = layout.reader(stored_as, wanted, range(len(layout.fields(stored_as, [name for name, _ in wanted]))))
    try:
        found, event_times = reader.rows(replies, schemas)
    except RowDecodeError as error:
        raise named(stored_as.decode(), error) from error
    pairs = zip(event_times, found, strict=True)
    rows: list[StoredRow | None] = []
    for key in keys:
        event, row = (0, None) if key is None else next(pairs)
        rows.append(None if row is None else (event, row))
    return rows


# ------------------------------------------------------------------------------------------------ the request


def _rename_entities(plan: OnlinePlan, columns: Mapping[str, list[Any]]) -> Mapping[str, list[Any]]:
    """Columns that bear an entity's name instead of its join key, which Feast deprecates but takes."""
    named = {
        name: plan.entity_names[name]
        for name in columns
        if name not in plan.join_keys and name not in plan.request_data and name in plan.entity_names
    }
    if not named:
        return columns
    for name, join_key in named.items():
        warnings.warn(f"entity column {name!r} is the name of an entity: use its join key {join_key!r}", stacklevel=2)
    return {named.get(name, name): values for name, values in columns.items()}


def _hashes_of(
    group: Group, keys: Mapping[tuple[str, int], list[Any]], length: int
) -> tuple[list[bytes], list[int] | None]:
    """The distinct Redis keys of a group, and which of them each row of the request wants."""
    if group.only_key is not None:
        return [group.only_key], None if length == 1 else [0] * length
    if length == 1:
        [only] = group.encoder.encode_columns({key.join_key: keys[key.column, key.kind] for key in group.keys})
        return ([], [-1]) if only is None else ([only], None)
    wanted = [keys[key.column, key.kind] for key in group.keys]
    single = len(wanted) == 1
    rows: Sequence[Any] = wanted[0] if single else list(zip(*wanted, strict=True))
    distinct = dict.fromkeys(rows)
    if single:
        distinct.pop(None, None)
    else:
        distinct = {row: None for row in distinct if None not in row}
    if not distinct:
        return [], [-1] * length
    by_join_key = [list(distinct)] if single else list(zip(*distinct, strict=True))
    names = [key.join_key for key in group.keys]
    encoded = group.encoder.encode_columns(dict(zip(names, by_join_key, strict=True)))
    # No row is null here, so every one has a key.
    found = [key for key in encoded if key is not None]
    if len(distinct) == length:
        return found, None
    place = {row: at for at, row in enumerate(distinct)}
    return found, [place.get(row, -1) for row in rows]


def _echo(question: Question, name: str, kind: int) -> list[Any]:
    """A join key's column in the answer: cast like the key; one of no known type as it came."""
    if kind == 0:
        return plain_values(name, question.columns[name])
    known = question.keys.get((name, kind))
    return known if known is not None else cast_keys(name, question.columns[name], kind)
