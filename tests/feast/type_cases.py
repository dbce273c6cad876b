"""A column of every Feast type: as a file holds it, and as a person who reads it online expects it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pyarrow as pa
from feast import types as feast
from feast.types import Array, Set, Struct

NAN, INF = math.nan, math.inf
NOW = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
OLD = datetime(1901, 2, 3, 4, 5, 6, tzinfo=UTC)
FAR = datetime(2500, 1, 1, tzinfo=UTC)
FIRST = datetime(1, 1, 1, tzinfo=UTC)
NEW_YORK = ZoneInfo("America/New_York")
ONE, TWO = UUID("12345678-1234-5678-1234-567812345678"), UUID(int=1)
ROWS = 5
MICROS = pa.timestamp("us", "UTC")


@dataclass(frozen=True)
class Case:
    """stored: four values as Arrow takes them, a null follows. answers: what Python gets back, None where it is the
    same. feast: the outcome of Feast's own stores where it is another one, an error as the start of its text.
    """

    dtype: Any
    arrow: pa.DataType
    stored: list[Any]
    answers: list[Any] | None = None
    feast: list[Any] | str | None = None
    without: tuple[str, ...] = ()

    @property
    def column(self) -> pa.Array:
        return pa.array([*self.stored, None], self.arrow)

    @property
    def expected(self) -> list[Any]:
        return [*(self.stored if self.answers is None else self.answers), None]


def _maps(values: list[Any]) -> list[Any]:
    return [dict(value) for value in values]


_MAPS = [[("a", "1"), ("b", "")], [], [("x", None)], [("ü", "é")]]
_INT_MAPS = [[("a", 1)], [], [("x", None)], [("b", -(2**62))]]
_KEYED = [[(1, "a"), (2, "b")], [], [(-3, "c")], [(0, "")]]
_DAYS = [date(2026, 1, 1), date(1900, 1, 1), date(2500, 1, 1), date(1, 1, 1)]
_NESTED = [[[1, 2], [3]], [], [[]], [[4], [5, 6, 7]]]
_STRUCTS = [{"a": 1, "b": "x"}, {"a": None, "b": ""}, {"a": 2**62, "b": None}, {"a": None, "b": None}]
_NUMPY = "ZONED_TIMESTAMP expects datetime values, got <class 'numpy.datetime64'>"

_SCALARS: dict[str, Case] = {
    "int32": Case(feast.Int32, pa.int32(), [-(2**31), 0, 2**31 - 1, 1]),
    # Integers with gaps are floats in pandas, through which Feast's rows travel.
    "int64": Case(feast.Int64, pa.int64(), [-(2**63), 0, 2**63 - 1, 2**53 + 1], feast="Value out of range"),
    "float32": Case(feast.Float32, pa.float32(), [0.5, -0.0, INF, NAN], feast=[0.5, -0.0, INF, None, None]),
    "float64": Case(feast.Float64, pa.float64(), [NAN, -INF, 5e-324, 1e308], feast=[None, -INF, 5e-324, 1e308, None]),
    "bool": Case(feast.Bool, pa.bool_(), [True, False, True, True]),
    "string": Case(feast.String, pa.string(), ["", "žluťoučký\nkůň", "a\0b", "None"]),
    "bytes": Case(feast.Bytes, pa.binary(), [b"", b"\xff\0", b"x", b"None"], without=("csv",)),
    "pdf": Case(feast.PdfBytes, pa.binary(), [b"%PDF\xff", b"", b"x", b"y"], without=("csv",)),
    "image": Case(feast.ImageBytes, pa.binary(), [b"\x89PNG", b"", b"x", b"y"], without=("csv",)),
    "timestamp": Case(feast.UnixTimestamp, MICROS, [NOW, OLD, FAR, FIRST]),
    "timestamp_ns": Case(
        feast.UnixTimestamp,
        pa.timestamp("ns"),
        [moment.replace(tzinfo=None) for moment in (NOW, OLD, datetime(2261, 1, 1, tzinfo=UTC), NOW)],
        [NOW, OLD, datetime(2261, 1, 1, tzinfo=UTC), NOW],
        without=("iceberg",),
    ),
    "timestamp_zone": Case(
        feast.UnixTimestamp, pa.timestamp("ms", "America/New_York"), [NOW, OLD, FAR, NOW], without=("iceberg",)
    ),
    "date": Case(feast.UnixTimestamp, pa.date32(), _DAYS, [datetime(*d.timetuple()[:3], tzinfo=UTC) for d in _DAYS]),
    "json": Case(
        feast.Json, pa.large_string(), ['{"a": [1, null]}', '"3"', "[1.5]", "{}"], [{"a": [1, None]}, "3", [1.5], {}]
    ),
    "uuid": Case(feast.Uuid, pa.string(), [str(ONE), str(TWO), str(ONE), str(ONE)], [ONE, TWO, ONE, ONE]),
    "time_uuid": Case(feast.TimeUuid, pa.string(), [str(ONE), str(TWO), str(ONE), str(ONE)], [ONE, TWO, ONE, ONE]),
    "decimal_text": Case(
        feast.Decimal,
        pa.string(),
        ["1.10", "-0", "1e30", "0.1"],
        [Decimal("1.10"), Decimal("-0"), Decimal("1e30"), Decimal("0.1")],
    ),
    "decimal": Case(
        feast.Decimal, pa.decimal128(20, 2), [Decimal("1.10"), Decimal("-5.00"), Decimal("0.00"), Decimal(10**17)],
        [Decimal("1.10"), Decimal("-5.00"), Decimal("0.00"), Decimal("100000000000000000.00")],
    ),
    # Delta knows no zones, and neither does Iceberg.
    "zoned": Case(
        feast.ZonedTimestamp, pa.timestamp("us", "America/New_York"), [NOW, OLD, FAR, NOW],
        [moment.astimezone(NEW_YORK) for moment in (NOW, OLD, FAR, NOW)], feast=_NUMPY,
        without=("delta", "iceberg", "csv"),
    ),
    "zoned_utc": Case(
        feast.ZonedTimestamp, MICROS, [NOW, OLD, FAR, NOW],
        [moment.astimezone(ZoneInfo("UTC")) for moment in (NOW, OLD, FAR, NOW)], feast=_NUMPY,
    ),
}  # fmt: skip

# What becomes of maps on their way through pandas.
_NO_MAP = "Expected dict for MAP type, got ndarray"
_NO_INTS = "Conversion failed for column map_of_ints"
_NESTED_FEAST = [[[1, 2], [3]], [], [None], [[4], [5, 6, 7]], None]

_CONTAINERS: dict[str, Case] = {
    "map": Case(feast.Map, pa.map_(pa.string(), pa.string()), _MAPS, _maps(_MAPS), feast=_NO_MAP),
    "map_of_ints": Case(feast.Map, pa.map_(pa.string(), pa.int64()), _INT_MAPS, _maps(_INT_MAPS), feast=_NO_INTS),
    "map_of_structs": Case(feast.Map, pa.struct([("a", pa.int64()), ("b", pa.string())]), _STRUCTS, feast=[
        {"a": 1.0, "b": "x"}, {"a": None, "b": ""}, {"a": 2.0**62, "b": None}, {"a": None, "b": None}, None,
    ]),
    "scalar_map": Case(
        feast.ScalarMap, pa.map_(pa.int64(), pa.string()), _KEYED, _maps(_KEYED),
        feast="Conversion failed for column scalar_map",
    ),
    "struct": Case(
        Struct({"a": feast.Int64, "b": feast.String}), pa.struct([("a", pa.int64()), ("b", pa.string())]), _STRUCTS,
        feast=[{"a": 1.0, "b": "x"}, {"a": None, "b": ""}, {"a": 2.0**62, "b": None}, {"a": None, "b": None}, None],
    ),
    # pyiceberg writes a missing list of structs as an empty one.
    "struct_list": Case(
        Array(Struct({"a": feast.Int64})), pa.list_(pa.struct([("a", pa.int64())])),
        [[{"a": 1}, {"a": 2}], [], [{"a": None}], [{"a": 3}]],
        feast=[[{"a": 1.0}, {"a": 2.0}], [], [{"a": None}], [{"a": 3.0}], None], without=("iceberg",),
    ),
    "map_list": Case(
        Array(feast.Map), pa.list_(pa.map_(pa.string(), pa.string())), [[[("a", "1")]], [], [[], [("b", "2")]], [[]]],
        [[{"a": "1"}], [], [{}, {"b": "2"}], [{}]], feast="Expected list for MAP_LIST type, got ndarray",
    ),
    "list_of_lists": Case(
        Array(Array(feast.Int64)), pa.list_(pa.list_(pa.int64())), _NESTED, feast=_NESTED_FEAST,
    ),
    "list_of_sets": Case(
        Array(Set(feast.Int64)), pa.list_(pa.list_(pa.int64())), _NESTED, feast=_NESTED_FEAST,
    ),
    "set_of_lists": Case(
        Set(Array(feast.Int64)), pa.list_(pa.list_(pa.int64())), _NESTED, feast=_NESTED_FEAST,
    ),
    "lists_of_texts": Case(
        Array(Array(feast.String)), pa.list_(pa.list_(pa.string())), [[["a", ""], ["č"]], [], [["x"]], [["y"]]],
    ),
    "lists_of_lists_of_lists": Case(
        Array(Array(Array(feast.Float64))), pa.list_(pa.list_(pa.list_(pa.float64()))),
        [[[[0.5], [1.5, 2.5]]], [], [[[3.0]], [[4.0]]], [[[INF]]]],
    ),
}  # fmt: skip

_ELEMENTS: dict[str, tuple[Any, pa.DataType, list[Any], Callable[[Any], Any] | None]] = {
    "bytes": (feast.Bytes, pa.binary(), [[b"a", b""], [], [b"\xff"], [b"x"] * 3], None),
    "string": (feast.String, pa.string(), [["a", ""], [], ["č"], ["x"] * 3], None),
    "int32": (feast.Int32, pa.int32(), [[1, -2], [], [-(2**31)], [7] * 3], None),
    "int64": (feast.Int64, pa.int64(), [[1, -(2**62)], [], [2**63 - 1], [7] * 3], None),
    "float32": (feast.Float32, pa.float32(), [[0.5, INF], [], [-0.0], [1.5] * 3], None),
    "float64": (feast.Float64, pa.float64(), [[0.1, -INF], [], [-0.0], [1.5] * 3], None),
    "bool": (feast.Bool, pa.bool_(), [[True, False], [], [False], [True] * 3], None),
    "timestamp": (feast.UnixTimestamp, MICROS, [[NOW, OLD], [], [FAR], [NOW] * 3], None),
    "uuid": (feast.Uuid, pa.string(), [[str(ONE), str(TWO)], [], [str(TWO)], [str(ONE)] * 3], UUID),
    "time_uuid": (feast.TimeUuid, pa.string(), [[str(ONE), str(TWO)], [], [str(TWO)], [str(ONE)] * 3], UUID),
    "decimal": (feast.Decimal, pa.string(), [["1.10", "2"], [], ["-3"], ["1e5"] * 3], Decimal),
}


def _collections() -> dict[str, Case]:
    cases = {
        # Feast has no set of JSON.
        "json_list": Case(
            Array(feast.Json),
            pa.list_(pa.large_string()),
            [['{"a": 1}', "2"], [], ["null"], ['"x"']],
            [[{"a": 1}, 2], [], [None], ["x"]],
        )
    }
    for name, (element, arrow, stored, parse) in _ELEMENTS.items():
        lists = [[parse(item) if parse else item for item in row] for row in stored]
        cases[f"{name}_list"] = Case(Array(element), pa.list_(arrow), stored, lists)
        cases[f"{name}_set"] = Case(Set(element), pa.list_(arrow), stored, [set(row) for row in lists])
    return cases


def _kept(cases: dict[str, Case]) -> dict[str, Case]:
    """CSV has no nested values."""
    return {
        name: Case(c.dtype, c.arrow, c.stored, c.answers, c.feast, (*c.without, "csv")) for name, c in cases.items()
    }


CASES: dict[str, Case] = {**_SCALARS, **_kept(_CONTAINERS), **_kept(_collections())}


def of_format(name: str) -> dict[str, Case]:
    """The cases that a format can hold."""
    return {key: case for key, case in CASES.items() if name not in case.without}
