"""Every Feast type, from every format that holds it: apply, materialize, read online and offline.

Online answers are also held against Feast's own way (its file store into its SQLite store), with the places named where
that way is wrong or ends in an error.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from ctypes import c_float
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, FileSource
from feast import types as feast
from feast.types import Array
from feast.value_type import ValueType

from tests.feast.repo import FORMATS, at, feature_store
from tests.feast.type_cases import CASES, MICROS, ROWS, of_format
from tests.online_server import address, server
from tests.stored_values import same
from yummy_feast import ParquetSource
from yummy_feast.errors import ColumnTypeError, YummyError

__all__ = ["address", "server"]

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY, SECOND, MICRO = timedelta(days=1), timedelta(seconds=1), timedelta(microseconds=1)
THING = Entity(name="thing", join_keys=["thing_id"], value_type=ValueType.INT64)
KEYS = [{"thing_id": number} for number in range(ROWS + 1)]

# What a CSV file does not say by itself.
CSV_TYPES = {"decimal": "decimal128(20, 2)", "decimal_text": "string"}


def table(*names: str) -> pa.Table:
    columns = {name: CASES[name].column for name in names}
    times = pa.array([NOON + timedelta(seconds=number) for number in range(ROWS)], MICROS)
    return pa.table({"thing_id": pa.array(range(ROWS), pa.int64()), "known_at": times, **columns})


def view(name: str, source: Any, *features: str) -> FeatureView:
    fields = [Field(name=feature, dtype=CASES[feature].dtype) for feature in features]
    return FeatureView(name=name, entities=[THING], schema=fields, source=source, ttl=timedelta(0))


@pytest.fixture(scope="module")
def ours(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureStore]:
    """A view per format, with every type that the format holds, materialized."""
    folder = tmp_path_factory.mktemp("types")
    store = feature_store(folder, online=at(server), project="types")
    views = []
    for name, build in FORMATS.items():
        options = {"schema": CSV_TYPES} if name == "csv" else {}
        names = of_format(name)
        source = build(folder, f"{name}_rows", table(*names), timestamp_field="known_at", **options)
        views.append(view(name, source, *names))
    store.apply([THING, *views])
    store.materialize(NOON - DAY, NOON + DAY)
    yield store
    store.teardown()


EACH = [(kind, name) for kind in FORMATS for name in of_format(kind)]


@pytest.mark.parametrize(("kind", "name"), EACH)
def test_online(ours: FeatureStore, kind: str, name: str) -> None:
    answer = ours.get_online_features([f"{kind}:{name}"], KEYS)
    expected = [*CASES[name].expected, None]
    assert same(answer.to_dict()[name], expected), answer.to_dict()[name]
    assert answer.statuses[name] == [*["PRESENT"] * 4, "NULL_VALUE", "NOT_FOUND"]
    times = answer.to_dict(include_event_timestamps=True)[f"{name}__ts"]
    assert times == [*(int(NOON.timestamp()) + number for number in range(ROWS)), 0]


@pytest.mark.parametrize(("kind", "name"), EACH)
def test_offline(ours: FeatureStore, kind: str, name: str) -> None:
    """The same value as the file has, times and zones as UTC; so the online answer, once it is read as Feast's type."""
    frame = pd.DataFrame({"thing_id": range(ROWS + 1), "event_timestamp": NOON + DAY})
    column = ours.get_historical_features(frame, [f"{kind}:{name}"]).to_arrow()[name]
    case = CASES[name]
    stored = case.column
    if pa.types.is_timestamp(stored.type) or pa.types.is_date(stored.type):
        unit = {"date32[day]": "us", "timestamp[ms, tz=America/New_York]": column.type.unit}.get(str(stored.type))
        stored = stored.cast(pa.timestamp(unit or column.type.unit)).cast(pa.timestamp(column.type.unit, "UTC"))
    assert same(column.to_pylist(), [*stored.to_pylist(), None]), column


# ------------------------------------------------------------------------------------- beside Feast's own way


@pytest.fixture(scope="module")
def feasts(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """Feast's file store and SQLite store; a view per type, because one that fails would take the others along."""
    folder = tmp_path_factory.mktemp("feast")
    store = feature_store(folder, "dask", online={"type": "sqlite", "path": str(folder / "online.db")})
    views = []
    for name in CASES:
        pq.write_table(table(name), folder / f"{name}.parquet")
        source = FileSource(name=f"{name}_rows", path=str(folder / f"{name}.parquet"), timestamp_field="known_at")
        views.append(view(f"the_{name}", source, name))
    store.apply([THING, *views])
    return store


@pytest.mark.parametrize("name", CASES)
def test_online_beside_feast(ours: FeatureStore, feasts: FeatureStore, name: str) -> None:
    case = CASES[name]
    if isinstance(case.feast, str):
        with pytest.raises(Exception) as caught:
            feasts.materialize(NOON - DAY, NOON + DAY, feature_views=[f"the_{name}"])
        assert case.feast in str(caught.value), "Feast can do it now"
        return
    feasts.materialize(NOON - DAY, NOON + DAY, feature_views=[f"the_{name}"])
    theirs = feasts.get_online_features([f"the_{name}:{name}"], KEYS).to_dict()[name]
    mine = ours.get_online_features([f"parquet:{name}"], KEYS).to_dict()[name]
    expected = mine if case.feast is None else [*case.feast, None]
    assert same(theirs, expected), "Feast answers something else now"
    assert case.feast is None or not same(mine, theirs), "no longer a difference"


# ------------------------------------------------------------------------------------------ schema inference

# Feast has one type for every list of lists and for every struct until a Field says more.
INFERRED: list[tuple[pa.DataType, str]] = [
    *((kind, "Int32") for kind in (pa.int8(), pa.int16(), pa.int32(), pa.uint8(), pa.uint16())),
    *((kind, "Int64") for kind in (pa.int64(), pa.uint32(), pa.uint64())),
    *((kind, "Float32") for kind in (pa.float16(), pa.float32())),
    (pa.float64(), "Float64"),
    (pa.bool_(), "Bool"),
    *((kind, "String") for kind in (pa.string(), pa.large_string(), pa.string_view())),
    *((kind, "Bytes") for kind in (pa.binary(), pa.large_binary(), pa.binary(4), pa.binary_view())),
    *((pa.timestamp(unit, zone), "UnixTimestamp") for unit in ("s", "ms", "us", "ns") for zone in (None, "Asia/Tokyo")),
    *((kind, "UnixTimestamp") for kind in (pa.date32(), pa.date64())),
    *((kind(9, 2), "Decimal") for kind in (pa.decimal32, pa.decimal64, pa.decimal128, pa.decimal256)),
    (pa.dictionary(pa.int32(), pa.string()), "String"),
    (pa.dictionary(pa.int8(), pa.int64()), "Int64"),
    (pa.list_(pa.int8()), "Array(Int32)"),
    (pa.list_(pa.int64()), "Array(Int64)"),
    (pa.list_(pa.float32()), "Array(Float32)"),
    (pa.list_(pa.float64(), 3), "Array(Float64)"),
    (pa.large_list(pa.string()), "Array(String)"),
    (pa.list_(pa.bool_()), "Array(Bool)"),
    (pa.list_(pa.binary()), "Array(Bytes)"),
    (pa.list_(MICROS), "Array(UnixTimestamp)"),
    (pa.list_(pa.date32()), "Array(UnixTimestamp)"),
    (pa.list_(pa.decimal128(10, 2)), "Array(Decimal)"),
    (pa.list_(pa.list_(pa.int64())), "Array(Array(String))"),
    (pa.map_(pa.string(), pa.float64()), "Map"),
    (pa.map_(pa.int64(), pa.string()), "ScalarMap"),
    (pa.list_(pa.map_(pa.string(), pa.string())), "Array(Map)"),
    (pa.struct([("a", pa.int64())]), "Struct({_value: String})"),
    (pa.list_(pa.struct([("a", pa.int64())])), "Array(Struct({_value: String}))"),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:Entity value_type will be mandatory:DeprecationWarning")
def test_features_and_keys_without_a_declared_schema(tmp_path: Path) -> None:
    """`feast apply` finds every column but the timestamps and those that begin with two underscores."""
    names = [f"c{number}" for number in range(len(INFERRED))]
    columns = {name: pa.nulls(1, kind) for name, (kind, _) in zip(names, INFERRED, strict=True)}
    keys = {"thing_id": pa.array(["a"]), "known_at": pa.array([NOON], MICROS), "written": pa.array([NOON], MICROS)}
    pq.write_table(pa.table({**keys, **columns, "__internal": pa.array([1])}), tmp_path / "rows.parquet")
    source = ParquetSource("rows.parquet", timestamp_field="known_at", created_timestamp_column="written")
    thing = Entity(name="thing", join_keys=["thing_id"])
    store = feature_store(tmp_path)
    store.apply([thing, FeatureView(name="rows", entities=[thing], source=source)])
    found = store.get_feature_view("rows")
    assert {field.name: str(field.dtype) for field in found.features} == dict(
        zip(names, (text for _, text in INFERRED), strict=True)
    )
    assert [(field.name, str(field.dtype)) for field in found.entity_columns] == [("thing_id", "String")]


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (pa.time64("us"), "Arrow type time64[us] has no Feast type"),
        (pa.duration("s"), "Arrow type duration[s] has no Feast type"),
        (pa.list_(pa.time32("ms")), "Arrow type time32[ms] has no Feast type"),
        (pa.null(), "nothing but nulls, which have no type"),
    ],
)
def test_a_column_that_feast_has_no_type_for_is_named(tmp_path: Path, kind: pa.DataType, why: str) -> None:
    pq.write_table(table("int32").append_column("odd", pa.nulls(ROWS, kind)), tmp_path / "rows.parquet")
    source = ParquetSource("rows.parquet", timestamp_field="known_at")
    store = feature_store(tmp_path)
    with pytest.raises(ColumnTypeError) as caught:
        store.apply([THING, FeatureView(name="rows", entities=[THING], source=source)])
    assert str(caught.value) == (
        f"rows.parquet: column 'odd': {why} "
        "(declare the feature view's schema without it, or cast the column in the source)"
    )
    store.apply([THING, view("rows", source, "int32")])


# ------------------------------------------------------------------- a column that is not quite what was declared


@dataclass(frozen=True)
class Stored:
    """A feature declared ``dtype`` over a column of another type. online, offline: what is read, or why nothing is."""

    dtype: Any
    arrow: pa.DataType
    values: list[Any]
    online: list[Any] | str
    offline: list[Any] | str | None = None


_DECIMAL = pa.decimal128(5, 2)
STORED = {
    # The same kind of number in another width, where the values fit.
    "int64 as Int32": Stored(feast.Int32, pa.int64(), [1, -(2**31)], [1, -(2**31)]),
    "int8 as Int64": Stored(feast.Int64, pa.int8(), [1, -128], [1, -128]),
    "uint8 as Int32": Stored(feast.Int32, pa.uint8(), [0, 255], [0, 255]),
    "double as Float32": Stored(feast.Float32, pa.float64(), [0.1, 0.5], [c_float(0.1).value, 0.5], [0.1, 0.5]),
    "float as Float64": Stored(feast.Float64, pa.float32(), [0.5, -1.5], [0.5, -1.5]),
    "half as Float32": Stored(feast.Float32, pa.float16(), [0.5, -1.5], [0.5, -1.5]),
    "list of int32 as Int64": Stored(Array(feast.Int64), pa.list_(pa.int32()), [[1], []], [[1], []]),
    "fixed list": Stored(
        Array(feast.Float32), pa.list_(pa.float32(), 2), [[0.5, 1.5], [2.0, 3.0]], [[0.5, 1.5], [2.0, 3.0]]
    ),
    # pandas writes integers with gaps as floats.
    "whole floats as Int64": Stored(feast.Int64, pa.float64(), [1.0, math.nan], [1, None]),
    "ints as Float64": Stored(feast.Float64, pa.int64(), [1, -2], [1.0, -2.0]),
    "decimal as Float64": Stored(feast.Float64, _DECIMAL, [Decimal("1.50"), Decimal(0)], [1.5, 0.0]),
    "dictionary": Stored(feast.String, pa.dictionary(pa.int8(), pa.string()), ["a", "b"], ["a", "b"]),
    "nothing": Stored(feast.Int64, pa.null(), [None, None], [None, None]),
    "no lists": Stored(Array(feast.String), pa.null(), [None, None], [None, None]),
    "seconds": Stored(feast.UnixTimestamp, pa.int64(), [0, 86_400], [EPOCH, EPOCH + DAY], [0, 86_400]),
    "parts of seconds": Stored(
        feast.UnixTimestamp,
        MICROS,
        [EPOCH - MICRO, EPOCH + MICRO],
        [EPOCH - SECOND, EPOCH],
        [EPOCH - MICRO, EPOCH + MICRO],
    ),
    "struct as Json": Stored(
        feast.Json, pa.struct([("a", pa.int64())]), [{"a": 1}, {"a": None}], [{"a": 1}, {"a": None}]
    ),
    # Feast reads it so.
    "text as Map": Stored(feast.Map, pa.string(), ['{"a": [1]}', "{}"], [{"a": [1]}, {}], ['{"a": [1]}', "{}"]),
    # What does not fit is an error that names the column and where it is.
    "wide int64 as Int32": Stored(
        feast.Int32, pa.int64(), [1, 2**31], "Integer value 2147483648 not in range", [1, 2**31]
    ),
    "huge uint64 as Int64": Stored(feast.Int64, pa.uint64(), [1, 2**63], "not in range", [1, 2**63]),
    "broken floats as Int64": Stored(
        feast.Int64, pa.float64(), [1.0, 1.5], "truncated converting to int64", "truncated"
    ),
    "ints as String": Stored(feast.String, pa.int64(), [1, 2], "holds int64, but is declared string", "holds int64"),
    "text as Int64": Stored(
        feast.Int64, pa.string(), ["1", "2"], "holds string, but is declared int64", "holds string"
    ),
    "text as Bytes": Stored(
        feast.Bytes, pa.string(), ["a", "b"], "holds string, but is declared binary", "holds string"
    ),
    "text as UnixTimestamp": Stored(feast.UnixTimestamp, pa.string(), ["2026", "2027"], "holds string", "holds string"),
    "bools as Int64": Stored(feast.Int64, pa.bool_(), [True, False], "holds bool", "holds bool"),
    "ints as list": Stored(Array(feast.Int64), pa.int64(), [1, 2], "holds int64", "holds int64"),
    "list as int": Stored(feast.Int64, pa.list_(pa.int64()), [[1], [2]], "holds list<", "holds list<"),
    "text as Uuid": Stored(feast.Uuid, pa.string(), ["no", "uuid"], "declared UUID and holds string", ["no", "uuid"]),
    "text as Json": Stored(feast.Json, pa.string(), ["{no", "json"], "declared JSON and holds string", ["{no", "json"]),
    "text as Decimal": Stored(
        feast.Decimal, pa.string(), ["1,5", "2"], "declared DECIMAL and holds string", ["1,5", "2"]
    ),
    "a null in a list": Stored(
        Array(feast.Int64), pa.list_(pa.int64()), [[1, None], []], "a null inside a list", [[1, None], []]
    ),
}


@pytest.mark.parametrize("name", STORED)
def test_a_column_of_another_type(tmp_path: Path, address: str, name: str) -> None:
    case = STORED[name]
    times = pa.array([NOON, NOON], MICROS)
    values = pa.array(case.values, case.arrow)
    pq.write_table(pa.table({"thing_id": [0, 1], "known_at": times, "raw": values}), tmp_path / "rows.parquet")
    source = ParquetSource("rows.parquet", timestamp_field="known_at", field_mapping={"raw": "odd"})
    fields = [Field(name="odd", dtype=case.dtype)]
    store = feature_store(tmp_path, online=at(address))
    store.apply([THING, FeatureView(name="odd_ones", entities=[THING], schema=fields, source=source)])

    def online() -> Any:
        store.materialize(NOON - DAY, NOON + DAY)
        return store.get_online_features(["odd_ones:odd"], KEYS[:2]).to_dict()["odd"]

    def offline() -> Any:
        frame = pd.DataFrame({"thing_id": [0, 1], "event_timestamp": NOON + DAY})
        return store.get_historical_features(frame, ["odd_ones:odd"]).to_arrow()["odd"].to_pylist()

    for read, expected in ((online, case.online), (offline, case.online if case.offline is None else case.offline)):
        if not isinstance(expected, str):
            assert same(read(), expected)
            continue
        with pytest.raises(YummyError, match=re.escape(expected)) as caught:
            read()
        text = str(caught.value)
        assert "rows.parquet" in text
        assert "'raw'" in text or "'odd'" in text
        assert "change the" in text
        assert "\n" not in text
        assert store.get_feature_view("odd_ones").materialization_intervals == []
