"""Arrow types as text and back."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yummy_feast.errors import ConfigError
from yummy_feast.sources.type_names import parse_type

scalars = st.sampled_from(
    [
        *(pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
        *(pa.float16(), pa.float32(), pa.float64(), pa.bool_(), pa.string(), pa.large_string(), pa.binary()),
        *(pa.large_binary(), pa.binary(16), pa.date32(), pa.date64(), pa.null(), pa.time32("s"), pa.time64("ns")),
        *(pa.decimal128(38, 10), pa.decimal256(50, 2), pa.decimal64(10, 2), pa.duration("us")),
        *(pa.timestamp(unit, tz=zone) for unit in ("s", "ms", "us", "ns") for zone in (None, "UTC", "+05:30")),
    ]
)
names = st.sampled_from(["a", "b c", "d.e", "f_1", "ü"])


def nested(inner: st.SearchStrategy[pa.DataType]) -> st.SearchStrategy[pa.DataType]:
    return st.one_of(
        inner.map(pa.list_),
        inner.map(pa.large_list),
        st.builds(pa.list_, inner, st.integers(1, 1000)),
        st.builds(pa.map_, inner.filter(lambda kind: kind != pa.null()), inner),
        st.dictionaries(names, inner, min_size=1, max_size=3).map(lambda fields: pa.struct(list(fields.items()))),
    )


@given(st.recursive(scalars, nested, max_leaves=5))
def test_every_type_comes_back_from_its_text(kind: pa.DataType) -> None:
    assert parse_type(str(kind)) == kind


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("int", pa.int64()),
        (" double ", pa.float64()),
        ("timestamp", pa.timestamp("us", tz="UTC")),
        ("date", pa.date32()),
        ("decimal(10,2)", pa.decimal128(10, 2)),
        ("dictionary<values=string, indices=int32, ordered=0>", pa.dictionary(pa.int32(), pa.string())),
        ("map<string, int64 ('value')>", pa.map_(pa.string(), pa.int64())),
        ("list<element: int64 not null>", pa.list_(pa.field("element", pa.int64(), nullable=False))),
    ],
)
def test_short_and_foreign_spellings(text: str, kind: pa.DataType) -> None:
    assert parse_type(text) == kind


@pytest.mark.parametrize("text", ["", "strng", "list<item: what>", "timestamp[years]"])
def test_what_is_no_type_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match="is no Arrow type"):
        parse_type(text)
