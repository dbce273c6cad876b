"""The bytes of a row are a wire format: what is pinned here is what stored rows look like for ever."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from yummy_feast.errors import RowDecodeError, ValueTypeError
from yummy_feast.online.columns import Column, HeapColumn, convert, of_stored
from yummy_feast.online.decoding import decoder
from yummy_feast.online.rows import (
    FINGERPRINT,
    HEADER_SIZE,
    ORDER,
    RowSchema,
    created_us,
    encode,
    event_us,
    fit,
    tombstone,
)
from yummy_feast.values import BY_NAME

INT32, INT64, DOUBLE, FLOAT, STRING, STRING_LIST = (
    BY_NAME[name].number for name in ("INT32", "INT64", "DOUBLE", "FLOAT", "STRING", "STRING_LIST")
)
TIMESTAMP, INT64_LIST, BYTES = (BY_NAME[name].number for name in ("UNIX_TIMESTAMP", "INT64_LIST", "BYTES"))


def columns_of(**columns: tuple[int, list[object]]) -> list[Column]:
    return [of_stored(name, number, values) for name, (number, values) in columns.items()]


def rows_of(columns: list[Column], schema: RowSchema | None = None, event: int = 0) -> list[bytes]:
    rows = len(columns[0].data if isinstance(columns[0], HeapColumn) else columns[0].values)
    return encode(schema or RowSchema.of((c.name, c.number) for c in columns), columns, np.full(rows, event, np.int64))


def test_a_row_byte_by_byte() -> None:
    columns = columns_of(
        n=(INT32, [258, None]), name=(STRING, ["hé", "x"]), x=(DOUBLE, [1.5, 2.5]), ids=(INT64_LIST, [[1], None])
    )
    schema = RowSchema.of([("n", INT32), ("name", STRING), ("x", DOUBLE), ("ids", INT64_LIST)])
    full, holed = encode(schema, columns, np.array([1, -1]), np.array([2, 7]), np.array([False, True]))
    assert full == bytes.fromhex(
        "01"  # version
        "8000000000000001"  # event timestamp, 1 microsecond
        "8000000000000002"  # created timestamp
        "00"  # flags
        f"{schema.fingerprint.hex()}"
        "02010000"  # n = 258
        "03000000"  # name ends at 3
        "000000000000f83f"  # x = 1.5
        "0b000000"  # ids end at 11
        "68c3a9"  # "hé"
        "0100000000000000"  # [1]
    )
    assert holed == bytes.fromhex(
        "01"
        "7fffffffffffffff"  # a microsecond before 1970
        "0000000000000000"  # no created timestamp
        "02"  # has nulls
        f"{schema.fingerprint.hex()}"
        "00000000"
        "01000000"
        "0000000000000440"
        "01000000"
        "09"  # columns 0 and 3 are null
        "78"  # "x"
    )


def test_fingerprints_do_not_change_between_releases() -> None:
    schema = RowSchema((("n", INT32), ("name", STRING)), ("b", "I"))
    assert schema.to_json() == b'[["n",3,"b"],["name",2,"I"]]'
    assert schema.fingerprint.hex() == "7af5c301"
    assert RowSchema.of([("n", INT32), ("name", STRING)]).fingerprint != schema.fingerprint
    assert RowSchema.from_json(schema.to_json()) == schema


def test_the_header_is_read_without_a_schema() -> None:
    (row,) = rows_of(columns_of(n=(INT64, [1])), event=-5)
    assert event_us(row) == -5
    assert created_us(row) is None
    assert row[FINGERPRINT] == RowSchema.of([("n", INT64)]).fingerprint
    deleted = tombstone(7, 0)
    assert len(deleted) == HEADER_SIZE
    assert (event_us(deleted), created_us(deleted)) == (7, 0)
    assert tombstone(7)[ORDER] < deleted[ORDER]
    assert decoder(RowSchema.of([("n", INT64)]), (("n", INT64),))(deleted) is None


def test_a_row_without_nulls_has_no_bitmap_also_beside_one_with() -> None:
    columns = columns_of(a=(INT64, [1, None, 3]), b=(INT64, [4, 5, 6]))
    first, second, third = rows_of(columns)
    assert len(first) == len(third) == HEADER_SIZE + 16
    assert len(second) == HEADER_SIZE + 16 + 1
    read = decoder(RowSchema.of([("a", INT64), ("b", INT64)]), (("b", INT64), ("a", INT64)))
    assert [read(row) for row in (first, second, third)] == [(4, 1), (5, None), (6, 3)]


@pytest.mark.parametrize(
    ("values", "code"),
    [([0, 127], "b"), ([-128], "b"), ([128], "h"), ([-129], "h"), ([2**15], "i"), ([2**31], "q"), ([-(2**63)], "q")],
)
def test_integers_lie_as_narrow_as_they_may(values: list[object], code: str) -> None:
    for number in (INT64, TIMESTAMP):
        columns = columns_of(n=(number, values), name=(STRING, ["x"] * len(values)))
        schema = fit(columns)
        assert schema.codes == (code, "I")
        read = decoder(schema, (("n", number),))
        assert [read(row) for row in rows_of(columns, schema)] == [(value,) for value in values]


def test_fit_prefers_a_known_schema_and_otherwise_widens() -> None:
    small, large = columns_of(a=(INT64, [1]), b=(INT64, [300])), columns_of(a=(INT64, [70_000]), b=(INT64, [1]))
    first = fit(small)
    assert first.codes == ("b", "h")
    second = fit(large, [first])
    # As wide as the known one in b, though this batch would not need it: schemas of a view only get wider.
    assert second.codes == ("i", "h")
    assert fit(small, [first, second]) == first
    assert fit(columns_of(a=(INT64, [70_000]), b=(INT64, [300])), [first, second]) == second
    other_names = columns_of(a=(INT64, [1]), c=(INT64, [1]))
    assert fit(other_names, [first, second]).codes == ("b", "b")


def test_fit_narrows_where_it_pays() -> None:
    """A view that was pushed to before it was materialized knows its widest schema already."""
    pairs = [("a", INT64), ("b", INT64), ("c", DOUBLE)]
    full = RowSchema.of(pairs)
    small = columns_of(a=(INT64, [1]), b=(INT64, [300]), c=(DOUBLE, [0.5]))
    narrow = fit(small, [full])
    assert narrow.codes == ("b", "h", "d")
    grown = columns_of(a=(INT64, [300]), b=(INT64, [1]), c=(DOUBLE, [0.5]))
    assert fit(grown, [full, narrow]).codes == ("h", "h", "d")
    large = columns_of(a=(INT64, [2**40]), b=(INT64, [2**20]), c=(DOUBLE, [0.5]))
    assert fit(large, [full, narrow]) == full


def test_a_view_whose_integers_keep_growing_settles_for_the_declared_widths() -> None:
    names = [f"n{i}" for i in range(40)]
    known: list[RowSchema] = []
    for widest in range(40):
        columns = [of_stored(name, INT64, [2**40 if at == widest else 1]) for at, name in enumerate(names)]
        schema = fit(columns, known)
        if schema not in known:
            known.append(schema)
    assert RowSchema.of((name, INT64) for name in names) in known
    assert len(known) == 9
    assert fit(columns, known) in known


def test_columns_that_do_not_fit_their_schema_are_refused() -> None:
    narrow = RowSchema((("n", INT64),), ("b",))
    with pytest.raises(ValueTypeError, match="'n' holds integers wider"):
        rows_of(columns_of(n=(INT64, [128])), narrow)
    with pytest.raises(ValueTypeError, match="not those of the row schema"):
        rows_of(columns_of(m=(INT64, [1])), narrow)


def test_a_row_too_large_for_redis_is_refused_before_it_is_built() -> None:
    column = convert("blob", BYTES, pa.array([b"x"]))
    assert isinstance(column, HeapColumn)
    huge = HeapColumn("blob", BYTES, column.data, np.array([600 * 1024 * 1024]), None)
    with pytest.raises(ValueTypeError, match="row 0 takes 629145600 bytes"):
        rows_of([huge])


def test_many_rows_and_large_pieces_cross_chunks() -> None:
    rows = 2500
    blobs = [bytes([i % 256]) * (1_000_000 if i % 500 == 0 else i % 7) for i in range(rows)]
    numbers = [None if i % 11 == 0 else i for i in range(rows)]
    columns = columns_of(
        blob=(BYTES, blobs), n=(INT64, numbers), tags=(STRING_LIST, [["t"] * (i % 3) for i in range(rows)])
    )
    schema = fit(columns)
    event = np.arange(rows) * 1_000_003 - 10**9
    encoded = encode(schema, columns, event, event + 1)
    read = decoder(schema, (("n", INT64), ("blob", BYTES), ("tags", STRING_LIST)))
    assert [event_us(row) for row in encoded] == event.tolist()
    assert [created_us(row) for row in encoded] == (event + 1).tolist()
    assert [read(row) for row in encoded] == [(numbers[i], blobs[i], ["t"] * (i % 3)) for i in range(rows)]


def test_features_may_be_called_anything() -> None:
    names = ["event", "version", "flags", "0", "fingerprint", "a b", "ü", ""]
    columns = [of_stored(name, INT64, [place]) for place, name in enumerate(names)]
    schema = fit(columns)
    assert RowSchema.from_json(schema.to_json()) == schema
    read = decoder(schema, tuple((name, INT64) for name in names))
    assert read(rows_of(columns, schema)[0]) == tuple(range(len(names)))


def test_no_rows_and_no_features() -> None:
    assert rows_of(columns_of(n=(INT64, []), s=(STRING, []))) == []
    empty = RowSchema.of([])
    (row,) = encode(empty, [], np.array([1]))
    assert len(row) == HEADER_SIZE
    assert decoder(empty, ())(row) == ()
    assert decoder(empty, (("new", INT64),))(row) == (None,)


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"{}",
        b"[1]",
        b'[["n",3]]',
        b'[["n",3,"I"]]',
        b'[["n",2,"q"]]',
        b'[["n",4,""]]',
        b'[["n",4,"bh"]]',
        b'[["n",3,"q"]]',
        b'[["n",999,"q"]]',
        b"\xff",
    ],
)
def test_a_damaged_schema_is_an_error_of_ours(damaged: bytes) -> None:
    with pytest.raises((RowDecodeError, ValueTypeError)):
        RowSchema.from_json(damaged)
