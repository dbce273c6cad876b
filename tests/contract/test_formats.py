"""What holds for every format: one suite, run over each case in ``format_cases``."""

from __future__ import annotations

import datetime as dt
import json
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from feast.data_source import DataSource
from feast.errors import SavedDatasetLocationAlreadyExists

from tests.contract.format_cases import CASES, UTC_MICROS, CsvFolder, FormatCase, read, rows, times
from yummy_feast.errors import ColumnNotFoundError, ColumnTypeError, SourceNotFoundError, SourceReadError
from yummy_feast.sources.base import Scan
from yummy_feast.values import value_type_of

# ------------------------------------------------------------------------------ types and values

NOON = dt.datetime(2026, 11, 1, 12, 0, 0, 123000)  # noqa: DTZ001 - naive on purpose
COLUMNS: dict[str, pa.Array] = {
    "int8": pa.array([1, None, -128], pa.int8()),
    "int16": pa.array([1, None, -(2**15)], pa.int16()),
    "int32": pa.array([1, None, 2**31 - 1], pa.int32()),
    "int64": pa.array([1, None, -(2**63)], pa.int64()),
    "uint8": pa.array([1, None, 255], pa.uint8()),
    "uint32": pa.array([1, None, 2**32 - 1], pa.uint32()),
    "float": pa.array([0.1, None, float("inf")], pa.float32()),
    "double": pa.array([0.1, None, -0.0], pa.float64()),
    "bool": pa.array([True, None, False]),
    "string": pa.array(["a,b", None, 'ü\n"quoted" text']),
    "empty string": pa.array(["", None, "NA"]),
    "large_string": pa.array(["a", None, "b"], pa.large_string()),
    "dictionary": pa.array(["a", None, "a"]).dictionary_encode(),
    "bytes": pa.array([b"\x00\xff", None, b""]),
    "date": pa.array([dt.date(2026, 11, 1), None, dt.date(1969, 12, 31)]),
    "decimal": pa.array([Decimal("12.50"), None, Decimal("-0.01")], pa.decimal128(10, 2)),
    **{
        f"timestamp[{unit}]": pa.array([NOON, None, NOON.replace(year=1960)]).cast(pa.timestamp(unit))
        for unit in ("ms", "us", "ns")
    },
    **{
        f"timestamp[us, {zone}]": pa.array([NOON, None, NOON.replace(year=1960)], pa.timestamp("us", tz=zone))
        for zone in ("UTC", "Europe/Warsaw", "+05:30")
    },
    "timestamp[s]": pa.array([NOON.replace(microsecond=0), None, NOON.replace(microsecond=0)], pa.timestamp("s")),
    "list<int64>": pa.array([[1, None], None, []], pa.list_(pa.int64())),
    "list<string>": pa.array([["a", None], None, [""]], pa.list_(pa.string())),
    "list<timestamp>": pa.array([[NOON], None, []], pa.list_(UTC_MICROS)),
    "fixed list": pa.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], pa.list_(pa.float32(), 2)),
    "list<list>": pa.array([[[1], []], None, [[2, 3]]], pa.list_(pa.list_(pa.int64()))),
    "map": pa.array([[("a", 1)], None, []], pa.map_(pa.string(), pa.int64())),
    "struct": pa.array(
        [{"a": 1, "b": "x"}, None, {"a": None, "b": None}], pa.struct([("a", pa.int64()), ("b", pa.string())])
    ),
}


def _comparable(values: pa.ChunkedArray | pa.Array) -> list[Any]:
    """Python values; times in UTC, decimals and floats as floats."""

    def plain(value: Any) -> Any:
        if isinstance(value, dt.datetime):
            value = value.to_pydatetime() if hasattr(value, "to_pydatetime") else value
            return value.astimezone(dt.UTC).replace(tzinfo=None) if value.tzinfo else value
        return float(value) if isinstance(value, Decimal) else value

    return [[plain(i) for i in item] if isinstance(item, list) else plain(item) for item in values.to_pylist()]


HELD = [(kind, name) for kind in CASES for name in COLUMNS if kind.kept_type(COLUMNS[name].type) is not None]
NOT_HELD = [(kind, name) for kind in CASES for name in COLUMNS if kind.kept_type(COLUMNS[name].type) is None]


@pytest.mark.parametrize(("kind", "name"), HELD, ids=lambda item: getattr(item, "name", item))
def test_types_and_nulls_come_back(kind: type[FormatCase], name: str, tmp_path: Path) -> None:
    case, column = kind(tmp_path), COLUMNS[name]
    case.lay([pa.table({"ts": times(1, 2, 3), "value": column})])
    scan = case.source().scan(case.context)
    parquet_has_no_seconds = name == "timestamp[s]" and "parquet" in case.name
    found = scan.schema.field("value").type
    assert found == (pa.timestamp("ms") if parquet_has_no_seconds else case.kept_type(column.type))
    # 0.1 as a float is another number as a double; CSV keeps the shortest text of the float.
    floats = name == "float" and isinstance(case, CsvFolder)
    assert _comparable(read(scan)["value"]) == ([0.1, None, float("inf")] if floats else _comparable(column))
    types = dict(case.source().get_table_column_names_and_types(_config(case)))
    infer = case.source().source_datatype_to_feast_value_type()
    assert infer(types["value"]) == value_type_of(found)
    assert infer(types["ts"]).name == "UNIX_TIMESTAMP"


@pytest.mark.parametrize(("kind", "name"), NOT_HELD, ids=lambda item: getattr(item, "name", item))
def test_a_type_that_the_format_cannot_hold_is_refused(kind: type[FormatCase], name: str, tmp_path: Path) -> None:
    case = kind(tmp_path)
    with pytest.raises(ColumnTypeError, match="'value'"):
        case.source().append(pa.table({"ts": times(1, 2, 3), "value": COLUMNS[name]}), case.context, create=True)
    with pytest.raises(SourceNotFoundError):
        case.source().scan(case.context)


def test_a_table_without_rows(case: FormatCase) -> None:
    case.lay([rows(1).slice(0, 0)])
    scan = case.source().scan(case.context)
    assert scan.schema.names == ["ts", "id", "name"]
    assert read(scan).num_rows == 0
    assert pa.types.is_timestamp(scan.schema.field("ts").type)


# ------------------------------------------------------------------------------ reading


@pytest.fixture
def laid(case: FormatCase) -> tuple[FormatCase, Scan]:
    case.lay([rows(*range(25)), rows(*range(25, 50)), rows(*range(50, 55))])
    return case, case.source().scan(case.context)


def test_columns_come_in_the_order_asked_for(laid: tuple[FormatCase, Scan]) -> None:
    _, scan = laid
    whole = read(scan)
    assert sorted(whole["id"].to_pylist()) == list(range(55))
    for names in (["name", "id"], ["id"], ["ts", "name"]):
        assert read(scan, names).equals(whole.select(names))
    assert sum(batch.num_rows for piece in scan.pieces() for batch in piece.read([])) == 55


def test_a_piece_reads_the_same_rows_every_time_in_any_thread(laid: tuple[FormatCase, Scan]) -> None:
    _, scan = laid
    pieces = scan.pieces()
    first = [read(scan, ["id"], [piece]) for piece in pieces]
    with ThreadPoolExecutor(4) as pool:
        again = list(pool.map(lambda piece: read(scan, ["name", "id"], [piece]).select(["id"]), pieces * 4))
    assert [table["id"].to_pylist() for table in again] == [table["id"].to_pylist() for table in first] * 4
    for piece, table in zip(pieces, first, strict=True):
        assert piece.rows in (None, table.num_rows)


def test_two_scans_have_the_same_order(laid: tuple[FormatCase, Scan]) -> None:
    case, scan = laid
    assert read(case.source().scan(case.context)).equals(read(scan))
    assert scan.total_pieces == len(scan.pieces())
    assert scan.format in case.name
    assert scan.location == case.source().location


def test_an_unknown_column_is_named(laid: tuple[FormatCase, Scan]) -> None:
    _, scan = laid
    with pytest.raises(ColumnNotFoundError, match=r"'nmae'.*'name'"):
        list(scan.pieces()[0].read(["nmae"]))


# ------------------------------------------------------------------------------ writing


def test_append_adds_rows_at_the_end_of_what_was_there(case: FormatCase) -> None:
    case.lay([rows(1, 2)])
    case.source().append(rows(3), case.context)
    case.source().append(
        pa.table({"id": pa.array([4], pa.int32()), "ts": times(240, kind=pa.timestamp("ns"))}), case.context
    )
    table = read(case.source().scan(case.context))
    assert table["id"].to_pylist() == [1, 2, 3, 4]
    assert table["name"].to_pylist() == ["name 1", "name 2", "name 3", None]
    assert [int(item.timestamp()) for item in table["ts"].to_pylist()] == [60, 120, 180, 240]


def test_append_refuses_a_table_that_does_not_fit_and_changes_nothing(case: FormatCase) -> None:
    case.lay([rows(1, 2)])
    before = case.place.data_files()
    with pytest.raises(ColumnNotFoundError, match=r"nmae.*name"):
        case.source().append(rows(3).rename_columns(["ts", "id", "nmae"]), case.context)
    with pytest.raises(ColumnTypeError, match="'id'"):
        case.source().append(rows(3).set_column(1, "id", pa.array(["x"])), case.context)
    with pytest.raises(ColumnTypeError, match="'id'"):
        case.source().append(rows(3).set_column(1, "id", pa.array([1.5])), case.context)
    assert read(case.source().scan(case.context)).num_rows == 2
    assert case.place.data_files() == before


def test_append_makes_a_source_only_when_told(case: FormatCase) -> None:
    with pytest.raises(SourceNotFoundError):
        case.source().append(rows(1), case.context)
    case.source().append(rows(1), case.context, create=True)
    case.source().append(rows(2), case.context, create=True)
    assert sorted(read(case.source().scan(case.context))["id"].to_pylist()) == [1, 2]


def test_many_writers_lose_nothing(case: FormatCase) -> None:
    if case.one_file_for_all and case.place.server:
        pytest.skip("object stores have no lock for who writes one object anew")
    case.lay([rows(0)])
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: case.source().append(rows(i), case.context), range(1, 9)))
    assert sorted(read(case.source().scan(case.context))["id"].to_pylist()) == list(range(9))


def test_replace_writes_anew_and_overwrites_only_when_allowed(case: FormatCase) -> None:
    source = case.source()
    source.replace(rows(1, 2), case.context, allow_overwrite=False)
    with pytest.raises(SavedDatasetLocationAlreadyExists):
        source.replace(rows(3), case.context, allow_overwrite=False)
    assert read(source.scan(case.context))["id"].to_pylist() == [1, 2]
    source.replace(rows(3), case.context, allow_overwrite=True)
    assert read(source.scan(case.context))["id"].to_pylist() == [3]
    other = pa.table({"ts": times(60), "id": ["now text"], "more": [1.5]})
    source.replace(other, case.context, allow_overwrite=True)
    assert read(source.scan(case.context)).to_pydict() == {
        **other.to_pydict(),
        "ts": read(source.scan(case.context))["ts"].to_pylist(),
    }
    assert not [path for path in case.place.files() if path.endswith((".tmp", ".new", ".old"))]


# ------------------------------------------------------------------------------ Feast


def test_registry_round_trip(case: FormatCase) -> None:
    source = case.source(
        name="the name",
        created_timestamp_column="made",
        field_mapping={"a": "b"},
        description="words",
        tags={"team": "x"},
        owner="me@example.org",
    )
    proto = source.to_proto()
    assert proto.type == proto.CUSTOM_SOURCE
    again = DataSource.from_proto(proto)
    assert again == source
    assert hash(again) == hash(source)
    assert again.to_proto() == proto
    assert type(source).from_proto(proto) == source
    payload = json.loads(proto.custom_options.configuration)
    proto.custom_options.configuration = json.dumps({**payload, "payload_version": 99, "from_the_future": [1]}).encode()
    assert DataSource.from_proto(proto) == source
    assert case.source(name="the name") != source
    assert source != "something else"


def test_default_name_is_the_place(case: FormatCase) -> None:
    assert case.source().name == case.source().location


def test_an_unknown_keyword_names_the_nearest(case: FormatCase) -> None:
    with pytest.raises(TypeError, match=r"'desciption'.*'description'"):
        case.source(desciption="x")


def _config(case: FormatCase) -> Any:
    store = SimpleNamespace(catalogs=case.context.catalogs, storage_options=case.context.storage_options)
    return SimpleNamespace(repo_path=case.folder, offline_store=store)


def test_validate_looks_at_place_columns_and_types(case: FormatCase) -> None:
    with pytest.raises(SourceNotFoundError):
        case.source().validate(_config(case))
    case.lay([rows(1, 2)])
    case.source().validate(_config(case))
    case.source(timestamp_field="when", field_mapping={"ts": "when"}).validate(_config(case))
    with pytest.raises(ColumnNotFoundError, match=r"'times'.*known: id, name, ts"):
        case.source(timestamp_field="times").validate(_config(case))
    with pytest.raises(ColumnNotFoundError, match="made"):
        case.source(created_timestamp_column="made").validate(_config(case))
    with pytest.raises(ColumnTypeError, match="'name'"):
        case.source(timestamp_field="name").validate(_config(case))


def test_a_file_that_vanishes_is_named(case: FormatCase) -> None:
    case.lay([rows(1, 2)])
    source = case.source()
    scan = source.scan(case.context)
    case.damage()
    with pytest.raises(SourceReadError) as caught:
        read(scan)
    assert case.root in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_class_path_in_the_registry_is_a_wire_format(case: FormatCase) -> None:
    kind = case.name.partition("-")[0]
    expected = f"yummy_feast.sources.{kind}.{kind.capitalize()}Source"
    assert case.source().to_proto().data_source_class_type == expected
