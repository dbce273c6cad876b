from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from yummy_feast.errors import LockfileError
from yummy_feast.offline.lockfile_digest import digest, digests, type_text

WORDS = pa.array(["a", None, "", "bc", "a"])
LISTS = pa.array([[1.5, None], None, [], [2.0]], pa.list_(pa.float64()))
ONE = pa.struct({"a": pa.int64()})
STRUCTS = pa.array([{"a": 1, "b": "x"}, None, {"a": None, "b": "y"}])
MAPS = pa.array([[("k", 1)], None, [], [("a", 2), ("b", None)]], pa.map_(pa.string(), pa.int64()))

SAME: dict[str, tuple[pa.Array, Any]] = {
    "chunks": (WORDS, pa.chunked_array([WORDS.slice(0, 2), WORDS.slice(2)])),
    "an offset": (WORDS, pa.concat_arrays([pa.array(["zz", None]), WORDS]).slice(2)),
    "a dictionary": (WORDS, WORDS.dictionary_encode()),
    "large text": (WORDS, WORDS.cast(pa.large_string())),
    "text as views": (WORDS, WORDS.cast(pa.string_view())),
    "run lengths": (pa.array([1, 1, None, 2]), pc.run_end_encode(pa.array([1, 1, None, 2]))),
    "large lists": (LISTS, LISTS.cast(pa.large_list(pa.float64()))),
    "an offset in lists": (LISTS.slice(2), pa.array([[], [2.0]], pa.list_(pa.float64()))),
    "lists of one length": (
        pa.array([[1, 2], None, [3, 4]]),
        pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int64(), 2)),
    ),
    "views of lists": (LISTS, pa.array(LISTS.to_pylist(), pa.list_view(pa.float64()))),
    "an offset in structs": (STRUCTS.slice(1), pa.array(STRUCTS.to_pylist()[1:], STRUCTS.type)),
    "an offset in maps": (MAPS.slice(2), pa.array(MAPS.to_pylist()[2:], MAPS.type)),
    "all NaNs": (
        pa.array([float("nan")]),
        pa.array(np.array([0xFFF8_0000_0000_0001], np.uint64).view(np.float64), from_pandas=False),
    ),
    "what lies under a null": (
        pa.array([1, None]),
        pa.Array.from_buffers(pa.int64(), 2, [pa.py_buffer(b"\x01"), pa.py_buffer(np.array([1, 99]))]),
    ),
    "names of UTC": (pa.array([1], pa.timestamp("us", "UTC")), pa.array([1], pa.timestamp("us", "Etc/UTC"))),
}

OTHER: dict[str, tuple[pa.Array, pa.Array]] = {
    "order": (pa.array([1, 2]), pa.array([2, 1])),
    "where nulls are": (pa.array([1, None, 1]), pa.array([1, 1, None])),
    "null and zero": (pa.array([None, 0], pa.int64()), pa.array([0, None], pa.int64())),
    "null and empty": (pa.array([None], pa.string()), pa.array([""])),
    "null and NaN": (pa.array([None], pa.float64()), pa.array([float("nan")])),
    "where texts end": (pa.array(["ab", "c"]), pa.array(["a", "bc"])),
    "where lists end": (pa.array([[1], [2, 3]]), pa.array([[1, 2], [3]])),
    "a row more": (pa.array([], pa.null()), pa.array([None], pa.null())),
    "a width": (pa.array([1], pa.int32()), pa.array([1], pa.int64())),
    "a sign": (pa.array([1], pa.uint64()), pa.array([1], pa.int64())),
    "text and bytes": (pa.array(["a"]), pa.array([b"a"])),
    "a unit": (pa.array([1], pa.timestamp("us")), pa.array([1], pa.timestamp("ns"))),
    "a zone": (pa.array([1], pa.timestamp("us")), pa.array([1], pa.timestamp("us", "UTC"))),
    "the sign of zero": (pa.array([0.0]), pa.array([-0.0])),
    "a scale": (pa.array([1], pa.decimal128(9, 2)), pa.array([1], pa.decimal128(9, 3))),
    "a null in a list": (pa.array([[None]], pa.list_(pa.int64())), pa.array([None], pa.list_(pa.int64()))),
    "names in a struct": (pa.array([{"a": 1}]), pa.array([{"b": 1}])),
    "a null in a struct": (pa.array([{"a": None}], ONE), pa.array([None], ONE)),
    "keys and items": (MAPS, pa.array([[("k", 1)], None, [], [("a", None), ("b", 2)]], MAPS.type)),
    "a truth": (pa.array([True, False]), pa.array([True, True])),
}  # fmt: skip


@pytest.mark.parametrize("what", SAME)
def test_it_does_not_see(what: str) -> None:
    one, two = SAME[what]
    assert digest(one) == digest(two)


@pytest.mark.parametrize("what", OTHER)
def test_it_sees(what: str) -> None:
    one, two = OTHER[what]
    assert digest(one) != digest(two)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pa.date32(), [1, 2]),
        (pa.time64("ns"), [1, 2]),
        (pa.duration("us"), [1, 2]),
        (pa.float16(), np.array([1, 2], np.float16)),
        (pa.decimal256(50, 2), [1, 2]),
        (pa.binary(2), [b"ab", b"cd"]),
        (pa.month_day_nano_interval(), [(1, 2, 3), (4, 5, 6)]),
    ],
    ids=str,
)
def test_every_type_has_one(kind: pa.DataType, values: Any) -> None:
    array = pa.array(values, kind)
    assert digest(array) != digest(array[::-1])
    assert digest(array.slice(1)) == digest(pa.array(values[1:], kind))


def test_it_stays_the_same() -> None:
    """It is written into files: a new version must know the old ones."""
    assert digest(WORDS) == "sha256:e083a00394d95bc5c932bf8351ca932f272d3058d0c4d3abf3c5227086db3bb6"
    assert (
        digest(pa.array([1.5, None, float("nan")]))
        == "sha256:8ae17d79af5d0355b601c3128b24935536a6fc202dee0cd3f4ef064fb291198d"
    )
    assert digest(LISTS) == "sha256:de50facfebe72f6ef2ee80fe9420a249df20752849a96b57ff567289ee286cd9"


def test_columns_are_told_apart() -> None:
    found = digests({"a": pa.array([1]), "b": pa.array([2]), "c": pa.array([1])})
    assert list(found) == ["a", "b", "c"]
    assert found["a"] == found["c"] != found["b"]
    assert digests({}) == {}


def test_a_union_is_refused() -> None:
    union = pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])])
    with pytest.raises(LockfileError, match="union"):
        digest(union)


def test_types_are_named_as_people_know_them() -> None:
    assert type_text(pa.dictionary(pa.int8(), pa.large_string())) == "string"
    assert type_text(pa.map_(pa.string(), pa.large_list(pa.float32()))) == "map<string, list<float>>"
    assert type_text(pa.struct({"a": pa.timestamp("ns", "+00:00")})) == "struct<a: timestamp[ns, tz=UTC]>"
