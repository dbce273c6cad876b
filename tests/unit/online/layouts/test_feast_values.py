"""Columns become the bytes that Feast's own messages serialize to: every type, any values, beside protobuf."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from tests.stored_values import STORABLE, same, stored
from yummy_feast.online.columns import of_stored
from yummy_feast.online.layouts.feast_decoding import cell_decoder, timestamp_us
from yummy_feast.online.layouts.feast_values import pack_rows, pack_strings, tag, varint
from yummy_feast.values import BY_NAME, KINDS, Kind, proto_finisher

# The years 1 to 9999, all that a Timestamp may say.
MOMENTS = st.integers(-62_135_596_800 * 10**6, 253_402_300_800 * 10**6 - 1)


def unpacked(packed: bytes) -> list[bytes]:
    """What Lua makes of it."""
    count, position = (int.from_bytes(packed[1:3]), 3) if packed[0] == 0xDC else (int.from_bytes(packed[1:5]), 5)
    found = []
    for _ in range(count):
        mark = packed[position]
        width = {0xD9: 1, 0xDA: 2, 0xDB: 4}.get(mark, 0)
        assert width or mark >> 5 == 5
        position += 1
        size = int.from_bytes(packed[position : position + width]) if width else mark & 31
        found.append(packed[position + width : position + width + size])
        position += width + size
    assert position == len(packed)
    return found


@pytest.mark.parametrize("kind", STORABLE, ids=lambda kind: kind.name)
@given(data=st.data())
def test_every_type_beside_protobuf(kind: Kind, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.none() | stored(kind), min_size=1, max_size=6))
    moments = data.draw(st.lists(MOMENTS, min_size=len(values), max_size=len(values)))
    column = of_stored("x", kind.number, values)
    other = of_stored("y", BY_NAME["INT64"].number, list(range(len(values))))
    rows = pack_rows([column, other, column], np.array(moments, np.int64))
    decode = cell_decoder("x", kind.number)
    for row, value, moment in zip(rows, values, moments, strict=True):
        stamp, first, _, last = unpacked(row)
        message = Timestamp()
        message.FromMicroseconds(moment)
        assert stamp == message.SerializeToString()
        assert timestamp_us(stamp) == moment
        proto = None if value is None else proto_finisher(kind.number)(value)
        assert first == last == (b"" if proto is None else proto.SerializeToString(deterministic=True))
        assert same(decode(first) if first else None, value)


def test_the_table_of_tags_is_feasts() -> None:
    from feast.protos.feast.types.Value_pb2 import Value

    for kind in KINDS.values():
        number = Value.DESCRIPTOR.fields_by_name[kind.proto_field].number
        assert tag(kind) in {varint(number << 3 | wire) for wire in (0, 1, 2, 5)}


@pytest.mark.parametrize("size", [0, 1, 27, 28, 31, 32, 127, 128, 250, 255, 256, 16_383, 16_384, 65_535, 70_000, 2**21])
def test_texts_of_any_length(size: int) -> None:
    number = BY_NAME["STRING"].number
    column = of_stored("s", number, ["x" * size, None, "y"])
    rows = pack_rows([column], np.zeros(3, np.int64))
    cells = [unpacked(row) for row in rows]
    expected = proto_finisher(number)("x" * size).SerializeToString()
    assert cells == [[b"", expected], [b"", b""], [b"", proto_finisher(number)("y").SerializeToString()]]
    assert cell_decoder("s", number)(expected) == "x" * size


def test_many_rows_and_many_columns() -> None:
    number = BY_NAME["INT32"].number
    columns = [of_stored(f"c{place}", number, list(range(place, place + 3000))) for place in range(70)]
    rows = pack_rows(columns, np.arange(3000) * 10**6)
    assert len(rows) == 3000
    for row in (0, 1023, 1024, 2999):
        stamp, *cells = unpacked(rows[row])
        assert timestamp_us(stamp) == row * 10**6
        assert [cell_decoder("c", number)(cell) for cell in cells] == [row + place for place in range(70)]
    wide = [of_stored("c", number, [1])] * 70_000
    assert len(unpacked(pack_rows(wide, np.zeros(1, np.int64))[0])) == 70_001


def test_no_rows() -> None:
    assert pack_rows([of_stored("c", 4, []), of_stored("d", 2, [])], np.zeros(0, np.int64)) == []


@pytest.mark.parametrize("strings", [[], [b""], [b"x" * 31, b"\xff" * 32, b"", b"y" * 70_000], [b"a"] * 70_000])
def test_strings_for_lua(strings: list[bytes]) -> None:
    assert unpacked(pack_strings(strings)) == strings
