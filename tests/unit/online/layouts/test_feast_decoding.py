"""Cells that are not what the writer of today would have written: other types, odd spellings, damage."""

from __future__ import annotations

import random
from typing import Any

import pytest
from feast.protos.feast.types.Value_pb2 import Value
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from tests.stored_values import STORABLE, same
from tests.unit.online.samples import PYTHON, messages, value_type
from yummy_feast.errors import RowDecodeError
from yummy_feast.online.layouts.feast_decoding import cell_decoder, timestamp_us
from yummy_feast.values import BY_NAME, NULL_TIMESTAMP, stored_value


def number(name: str) -> int:
    return BY_NAME[name].number


@pytest.mark.parametrize(
    ("declared", "held", "value"),
    [
        ("INT64", {"int32_val": -5}, -5),
        ("INT32", {"int64_val": 7}, 7),
        ("DOUBLE", {"int64_val": 7}, 7.0),
        ("DOUBLE", {"float_val": 0.5}, 0.5),
        ("FLOAT", {"double_val": 0.1}, 0.10000000149011612),
        ("STRING", {"json_val": "{}"}, "{}"),
        ("STRING", {"uuid_val": "x"}, "x"),
        ("PDF_BYTES", {"bytes_val": b"x"}, b"x"),
        ("INT64", {"null_val": 0}, None),
        ("UNIX_TIMESTAMP", {"unix_timestamp_val": NULL_TIMESTAMP}, None),
        ("UNIX_TIMESTAMP", {"unix_timestamp_val": -1}, -1),
        ("INT32", {"int32_val": -(2**31)}, -(2**31)),
    ],
)
def test_types_that_stand_for_another(declared: str, held: dict[str, Any], value: Any) -> None:
    found = cell_decoder("f", number(declared))(Value(**held).SerializeToString())
    assert same(found, value)


@pytest.mark.parametrize(
    ("declared", "held", "why"),
    [
        ("INT64", {"string_val": "5"}, "'f' is declared INT64 and was stored as STRING"),
        ("STRING", {"int64_val": 5}, "'f' is declared STRING and was stored as INT64"),
        ("BOOL", {"int64_val": 1}, "'f' is declared BOOL and was stored as INT64"),
        ("INT32", {"int64_val": 2**40}, "does not fit into INT32"),
        ("MAP", {"int64_val": 5}, "'f' is declared MAP and was stored as INT64"),
    ],
)
def test_types_that_do_not(declared: str, held: dict[str, Any], why: str) -> None:
    with pytest.raises(RowDecodeError, match=why):
        cell_decoder("f", number(declared))(Value(**held).SerializeToString())


@given(st.sampled_from(["INT32", "INT64", "UNIX_TIMESTAMP"]), st.integers(-(2**63), 2**63 - 1), st.integers(0, 4))
def test_varints_longer_than_need_be(declared: str, value: int, padding: int) -> None:
    """Nobody writes them, every protobuf reads them."""
    bits, payload = value % 2**64, bytearray()
    while bits > 127:
        payload.append(bits & 127 | 128)
        bits >>= 7
    payload.append(bits)
    for _ in range(min(padding, 10 - len(payload))):
        payload[-1] |= 128
        payload.append(0)
    cell = bytes([number(declared) << 3]) + bytes(payload)
    message = Value.FromString(cell)
    assert cell_decoder("f", number(declared))(cell) == stored_value(message, number(declared))


@pytest.mark.parametrize(
    "cell", [b"\x20", b"\x20\x80", b"\x20\x05\x20", b"\xff", b"\xff\xff", b"\x29abc", b"\x20" * 11]
)
def test_bytes_that_are_no_value(cell: bytes) -> None:
    for kind in STORABLE:
        with pytest.raises(RowDecodeError, match="feature 'f' holds"):
            cell_decoder("f", kind.number)(cell)


def test_a_type_that_a_later_feast_may_know() -> None:
    with pytest.raises(RowDecodeError, match="'f' holds a value of no type that Feast"):
        cell_decoder("f", number("INT64"))(b"\xfa\x3f\x01x")


def test_damaged_cells_are_errors_or_what_protobuf_reads() -> None:
    dice = random.Random(11)
    errors = 0
    for name in PYTHON:
        declared = value_type(name).value
        decode = cell_decoder("f", declared)
        for message in messages(name)[:3]:
            cell = message.SerializeToString(deterministic=True)
            for _ in range(300):
                damaged = bytearray(cell)
                for _ in range(dice.randint(0, 3)):
                    damaged[dice.randrange(len(damaged))] = dice.randrange(256)
                damaged = damaged[: dice.randint(1, len(damaged))] if dice.random() < 0.3 else damaged
                try:
                    found = decode(bytes(damaged))
                except RowDecodeError:
                    errors += 1
                    continue
                # Protobuf would have read the same.
                other = Value.FromString(bytes(damaged))
                if other.WhichOneof("val") == message.WhichOneof("val"):
                    assert same(found, stored_value(other, declared))
    assert errors > 1000


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**31), 2**31 - 1))
def test_any_timestamp(seconds: int, nanos: int) -> None:
    cell = Timestamp(seconds=seconds, nanos=nanos).SerializeToString()
    assert timestamp_us(cell) == (seconds * 10**9 + nanos) // 1000


@given(st.binary(max_size=12))
def test_bytes_that_may_be_a_timestamp(cell: bytes) -> None:
    try:
        found = timestamp_us(cell)
    except RowDecodeError:
        return
    try:
        message = Timestamp.FromString(cell)
    except DecodeError:
        # A varint beyond 64 bits, which protobuf refuses.
        return
    # Nanoseconds beyond 32 bits, which nobody writes, are cut off by protobuf.
    assert found == (message.seconds * 10**9 + message.nanos) // 1000 or abs(found - message.seconds * 10**6) > 2**20
