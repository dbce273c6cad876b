"""Rows stay readable after the schema of their view has changed; what cannot be read says so."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest

from yummy_feast.errors import RowDecodeError
from yummy_feast.online.columns import of_stored
from yummy_feast.online.decoding import _vector_reader, decoder
from yummy_feast.online.rows import RowSchema, encode, fit, tombstone
from yummy_feast.values import BY_NAME


def plain(row: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
    """Vectors as lists."""
    return row and tuple(value.tolist() if isinstance(value, memoryview) else value for value in row)


def number(name: str) -> int:
    return BY_NAME[name].number


def stored_row(**values: tuple[str, object]) -> tuple[RowSchema, bytes]:
    columns = [of_stored(name, number(kind), [value]) for name, (kind, value) in values.items()]
    schema = fit(columns)
    return schema, encode(schema, columns, np.array([5]))[0]


SCHEMA, ROW = stored_row(
    a=("INT64", 7), s=("STRING", "one"), f=("FLOAT", 0.5), t=("STRING_LIST", ["x", "y"]), v=("FLOAT_LIST", [1.0, 2.0])
)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("a s f t v", (7, "one", 0.5, ["x", "y"], [1.0, 2.0])),
        ("v t f s a", ([1.0, 2.0], ["x", "y"], 0.5, "one", 7)),
        ("t", (["x", "y"],)),
        ("s", ("one",)),
        ("f", (0.5,)),
        ("v a", ([1.0, 2.0], 7)),
        ("a new s", (7, None, "one")),
        ("new", (None,)),
        ("new newer", (None, None)),
        ("a a", (7, 7)),
        ("", ()),
    ],
)
def test_any_choice_of_features_in_any_order(wanted: str, expected: tuple[object, ...]) -> None:
    types = {"a": "INT64", "s": "STRING", "f": "FLOAT", "t": "STRING_LIST", "v": "FLOAT_LIST"}
    pairs = tuple((name, number(types.get(name, "INT64"))) for name in wanted.split())
    assert plain(decoder(SCHEMA, pairs)(ROW)) == expected


def test_nulls_in_every_place() -> None:
    values = {
        "a": ("INT64", 7),
        "s": ("STRING", "one"),
        "f": ("FLOAT", 0.5),
        "t": ("BYTES", b"x"),
        "l": ("STRING", "z"),
    }
    pairs = tuple((name, number(kind)) for name, (kind, _) in values.items())
    for mask in range(32):
        holed = {name: (kind, None if mask >> i & 1 else v) for i, (name, (kind, v)) in enumerate(values.items())}
        schema, row = stored_row(**holed)
        assert decoder(schema, pairs)(row) == tuple(value for _, value in holed.values())
        assert decoder(schema, pairs[3:])(row) == tuple(value for _, value in holed.values())[3:]


@pytest.mark.parametrize(
    ("old", "value", "new", "expected"),
    [
        ("INT32", 7, "INT64", 7),
        ("INT32", 7, "DOUBLE", 7.0),
        ("INT32", 20_000_001, "FLOAT", 20_000_000.0),
        ("INT64", 2**53 + 1, "DOUBLE", float(2**53)),
        ("INT64", 20_000_001, "FLOAT", 20_000_000.0),
        ("INT64", -(2**31), "INT32", -(2**31)),
        ("FLOAT", 0.5, "DOUBLE", 0.5),
        ("DOUBLE", 0.1, "FLOAT", float(np.float32(0.1))),
        ("DOUBLE", 1e300, "FLOAT", float("inf")),
        ("UUID", "0a8a7d1e-0000-4000-8000-000000000001", "STRING", "0a8a7d1e-0000-4000-8000-000000000001"),
        ("JSON", "[1]", "STRING", "[1]"),
        ("DECIMAL", "1.5", "STRING", "1.5"),
        ("BYTES", b"x", "PDF_BYTES", b"x"),
        ("IMAGE_BYTES", b"x", "BYTES", b"x"),
        ("INT32_LIST", [1, 2], "INT64_LIST", [1, 2]),
        ("INT32_LIST", [1, 2], "DOUBLE_LIST", [1.0, 2.0]),
        ("DOUBLE_LIST", [0.1], "FLOAT_LIST", [float(np.float32(0.1))]),
        ("INT64_LIST", [1], "INT64_SET", [1]),
        ("STRING_SET", ["a"], "STRING_LIST", ["a"]),
        ("UUID_LIST", ["x"], "STRING_LIST", ["x"]),
        ("INT64_LIST", [], "DOUBLE_LIST", []),
    ],
)
def test_a_changed_type_reads_as_the_writer_would_write_it(old: str, value: object, new: str, expected: object) -> None:
    if old == "UUID_LIST":
        value = expected = ["0a8a7d1e-0000-4000-8000-000000000001"]
    schema, row = stored_row(x=(old, value), y=("INT64", 1))
    answer = plain(decoder(schema, (("x", number(new)), ("y", number("INT64"))))(row))
    assert answer == (expected, 1)
    assert answer is not None
    assert type(answer[0]) is type(expected)
    schema, row = stored_row(x=(old, None), y=("INT64", 1))
    assert decoder(schema, (("y", number("INT64")), ("x", number(new))))(row) == (1, None)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("STRING", "INT64"),
        ("INT64", "STRING"),
        ("STRING", "JSON"),
        ("STRING", "UUID"),
        ("DOUBLE", "INT64"),
        ("BOOL", "INT64"),
        ("UNIX_TIMESTAMP", "INT64"),
        ("INT64", "INT64_LIST"),
        ("STRING_LIST", "INT64_LIST"),
        ("STRING_LIST", "BYTES_LIST"),
        ("BYTES_LIST", "STRING_LIST"),
        ("MAP", "STRUCT"),
        ("BYTES", "STRING"),
    ],
)
def test_types_that_do_not_go_together_name_the_feature_and_both(old: str, new: str) -> None:
    schema = RowSchema.of([("x", number(old)), ("y", number("INT64"))])
    with pytest.raises(RowDecodeError, match=f"feature 'x' is declared {new} and was stored as {old}.*materialize"):
        decoder(schema, (("x", number(new)),))
    # The others are not harmed.
    decoder(schema, (("y", number("INT64")),))


def test_an_integer_too_large_for_its_new_type_is_no_answer() -> None:
    schema, row = stored_row(x=("INT64", 2**31))
    with pytest.raises(RowDecodeError, match="2147483648 does not fit into INT32"):
        decoder(schema, (("x", number("INT32")),))(row)


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        ROW[:21],
        ROW[:22],
        ROW[:-1],
        ROW + b"\0",
        b"\2" + ROW[1:],
        b"\0" + ROW[1:],
        ROW[:17] + b"\4" + ROW[18:],
        ROW[:17] + b"\3" + ROW[18:],
        ROW[:17] + b"\1" + ROW[18:],
        ROW[:17] + b"\2" + ROW[18:],
        tombstone(5) + b"\0",
    ],
    ids=range(12),
)
def test_a_damaged_row_is_an_error_of_ours(damaged: bytes) -> None:
    read = decoder(SCHEMA, (("a", number("INT64")), ("s", number("STRING"))))
    with pytest.raises(RowDecodeError):
        read(damaged)


def test_pieces_that_lie_outside_the_row_or_are_no_text() -> None:
    schema, row = stored_row(s=("STRING", "one"), t=("STRING", "two"))
    read = decoder(schema, (("s", number("STRING")), ("t", number("STRING"))))
    assert read(row) == ("one", "two")
    outside = row[:22] + (7).to_bytes(4, "little") + row[26:]
    with pytest.raises(RowDecodeError, match="'s' lies outside the row"):
        read(outside)
    with pytest.raises(RowDecodeError, match=r"feature 's'.*utf-8"):
        read(row[:30] + b"\xff" + row[31:])
    schema, row = stored_row(v=("INT64_LIST", [1]))
    short = row[:22] + (7).to_bytes(4, "little") + row[26:-1]
    with pytest.raises(RowDecodeError, match="feature 'v'"):
        decoder(schema, (("v", number("INT64_LIST")),))(short)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("FLOAT_LIST", [0.5, -0.0, float("inf")]),
        ("DOUBLE_SET", [5e-324, 1e308]),
        ("INT32_LIST", [-(2**31), 2**31 - 1]),
        ("INT64_LIST", [-(2**62), 1]),
        ("BOOL_LIST", [True, False, True]),
        ("UNIX_TIMESTAMP_LIST", [-1, 2**40]),
        ("FLOAT_LIST", []),
    ],
)
@pytest.mark.parametrize("before", ["", "x", "xy", "xyz"])
def test_a_vector_is_a_window_on_its_row_wherever_it_lies(kind: str, value: list[Any], before: str) -> None:
    schema, row = stored_row(s=("STRING", before), v=(kind, value), t=("STRING", "behind"))
    answer = decoder(schema, (("v", number(kind)), ("t", number("STRING"))))(row)
    assert answer is not None
    assert isinstance(answer[0], memoryview)
    assert (answer[0].obj, answer[0].readonly) == (row, True)
    assert answer[0].obj is row
    assert plain(answer) == (value, "behind")


def test_a_machine_of_the_other_byte_order_reads_the_same_numbers() -> None:
    piece = memoryview(struct.pack("<3f", 0.5, -1.0, 1e30) + b"\0")
    there, here = _vector_reader("f", "big"), _vector_reader("f", "little")
    assert there(piece[:12]) == here(piece[:12]).tolist() == list(struct.unpack("<3f", piece[:12]))  # type: ignore[attr-defined]
    with pytest.raises(struct.error):
        there(piece)


@pytest.mark.parametrize("kind", ["FLOAT_LIST", "DOUBLE_LIST", "INT32_SET", "INT64_LIST", "UNIX_TIMESTAMP_SET"])
def test_a_vector_that_ends_inside_an_element_is_damage(kind: str) -> None:
    schema, row = stored_row(v=(kind, [1, 2]))
    size = len(row) - 26
    for length in range(size):
        cut = row[:22] + length.to_bytes(4, "little") + row[26 : 26 + length]
        read = decoder(schema, (("v", number(kind)),))
        if length % (size // 2):
            with pytest.raises(RowDecodeError, match=r"damaged: feature 'v': .*multiple of itemsize"):
                read(cut)
        else:
            assert plain(read(cut)) == ([1] * (length // (size // 2)),)
