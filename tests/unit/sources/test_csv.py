"""What only CSV files do: types over the whole file, dialects, nulls and quotes, times, errors that name the row."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from feast.types import Int32, UnixTimestamp
from hypothesis import given
from hypothesis import strategies as st

from tests.contract.format_cases import read
from yummy_feast.errors import ColumnNotFoundError, ColumnTypeError, ConfigError, SourceReadError
from yummy_feast.sources import csv_dialect
from yummy_feast.sources.base import Prune, SourceContext
from yummy_feast.sources.csv import CsvScan, CsvSource
from yummy_feast.sources.csv_types import ColumnText, fits

UTC = pa.timestamp("us", tz="UTC")


@pytest.fixture
def context(tmp_path: Path) -> SourceContext:
    return SourceContext(tmp_path)


def scan(context: SourceContext, text: str, name: str = "x.csv", **keywords: Any) -> CsvScan:
    (context.repo_path / name).write_text(text)
    return CsvSource(name, **{"timestamp_field": "ts", **keywords}).scan(context)


def column(context: SourceContext, values: list[str], **keywords: Any) -> pa.ChunkedArray:
    text = "ts,v\n" + "".join(f"2026-11-01T00:00:00Z,{value}\n" for value in values)
    return read(scan(context, text, **keywords))["v"]


# ------------------------------------------------------------------------------ types


@pytest.mark.parametrize(
    ("values", "kind", "read_back"),
    [
        (["1", "", "-7"], pa.int64(), [1, None, -7]),
        (["1", "2.5"], pa.float64(), [1.0, 2.5]),
        (["2.5", "1"], pa.float64(), [2.5, 1.0]),
        (["1", "x"], pa.string(), ["1", "x"]),
        (["007", "x1"], pa.string(), ["007", "x1"]),
        (["9007199254740993", "2.5"], pa.string(), ["9007199254740993", "2.5"]),
        (["99999999999999999999"], pa.string(), ["99999999999999999999"]),
        (["true", "False", "NA"], pa.bool_(), [True, False, None]),
        (["true", "1"], pa.string(), ["true", "1"]),
        (["", "NULL"], pa.string(), [None, None]),
        (["1", '""'], pa.int64(), [1, None]),
        (["a", '""'], pa.string(), ["a", ""]),
        (['""'], pa.string(), [""]),
        (['"NA"', "NA"], pa.string(), ["NA", None]),
    ],
)
def test_the_narrowest_type_of_the_whole_file(
    context: SourceContext, values: list[str], kind: pa.DataType, read_back: list[Any]
) -> None:
    found = column(context, values)
    assert (found.type, found.to_pylist()) == (kind, read_back)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["2026-11-01", "1969-12-31"], pa.date32()),
        (["2026-11-01", "2026-11-01 10:00"], pa.timestamp("us")),
        (["2026-11-01T10:00:00.5", "2026-11-01 10:00:00.123456789"], pa.timestamp("ns")),
        (["2026-11-01T10:00:00Z", "2026-11-01T12:00:00+02:00"], UTC),
        (["2026-11-01T10:00:00.123456789+0000"], pa.timestamp("ns", tz="UTC")),
    ],
)
def test_times(context: SourceContext, values: list[str], kind: pa.DataType) -> None:
    found = column(context, values)
    assert found.type == kind
    if len(values) == 2 and kind == UTC:
        assert found[0] == found[1]


def test_a_type_that_changes_in_a_later_block(context: SourceContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_dialect, "_BLOCK", 2_000)
    values = [str(i) for i in range(1_000)]
    assert column(context, [*values, "1.5"], name="a.csv").type == pa.float64()
    assert column(context, [*values, "text"], name="b.csv")[0].as_py() == "0"
    assert column(context, [*[""] * 1_000, "5"], name="c.csv").type == pa.int64()


def test_types_are_inferred_again_when_the_file_changes(context: SourceContext) -> None:
    assert column(context, ["1"]).type == pa.int64()
    assert column(context, ["text"]).type == pa.string()


@given(
    st.lists(
        st.lists(st.sampled_from(["1", "-2.5", "", "true", "2026-11-01", "2026-11-01T00:00:00Z", "x"]), max_size=3)
    )
)
def test_a_column_fits_its_type_however_it_is_cut_into_blocks(blocks: list[list[str]]) -> None:
    seen, whole = ColumnText(), ColumnText()
    for block in blocks:
        seen.see(pa.array(block, pa.string()))
    flat = [value for block in blocks for value in block]
    whole.see(pa.array(flat, pa.string()))
    assert seen.type == whole.type
    present = pa.array([value for value in flat if value], pa.string())
    assert len(present) == 0 or fits(present, seen.type)


# ------------------------------------------------------------------------------ declared types


def test_a_schema_in_any_spelling(context: SourceContext) -> None:
    text = "ts,a,b,c\n1700000000,1,2,3\n"
    declared = {"ts": "timestamp[s]", "a": pa.int8(), "b": Int32}
    found = read(scan(context, text, schema=declared))
    assert found.schema.types == [pa.timestamp("s"), pa.int8(), pa.int32(), pa.int64()]
    source = CsvSource("x.csv", timestamp_field="ts", schema={"ts": UnixTimestamp, "c": "double"})
    assert source.schema == {"ts": "timestamp[us, tz=UTC]", "c": "double"}
    assert CsvSource.from_proto(source.to_proto()) == source


@pytest.mark.parametrize(
    ("text", "kind", "seconds"),
    [
        ("1700000000", "timestamp[s]", 1700000000),
        ("1700000000000", "timestamp[ms, tz=UTC]", 1700000000),
        ("2023-11-14T22:13:20Z", "timestamp[us]", 1700000000),
        ("2023-11-14 22:13:20", "timestamp[us, tz=UTC]", 1700000000),
        ("2023-11-14", "timestamp[us, tz=UTC]", 1699920000),
    ],
)
def test_declared_times_read_integers_and_any_iso_form(
    context: SourceContext, text: str, kind: str, seconds: int
) -> None:
    (value,) = read(scan(context, f"ts\n{text}\n", schema={"ts": kind}))["ts"]
    assert str(value.type) == kind
    assert value.cast(pa.timestamp("s", tz=value.type.tz)).cast(pa.int64()).as_py() == seconds


def test_integers_are_no_times_by_themselves(context: SourceContext) -> None:
    with pytest.raises(ColumnTypeError, match=r"x\.csv: column 'ts' holds integers.*schema=\{'ts': 'timestamp\[s\]'\}"):
        scan(context, "ts\n1700000000\n")


def test_a_declared_column_that_is_not_there(context: SourceContext) -> None:
    with pytest.raises(ColumnNotFoundError, match=r"'valeu' \(schema\).*'value'"):
        scan(context, "ts,value\n2026-11-01,1\n", schema={"valeu": "int64"})


def test_types_that_csv_cannot_hold() -> None:
    for kind in ("list<item: int64>", "binary"):
        with pytest.raises(ConfigError, match=r"'a'.*CSV cannot hold"):
            CsvSource("x.csv", timestamp_field="ts", schema={"a": kind})


@pytest.mark.parametrize("kind", ["inte64", int])
def test_a_type_that_there_is_not_is_named_with_its_column(kind: Any) -> None:
    with pytest.raises(ConfigError, match=r"^source 'x\.csv': schema: column 'a': '.*int.*' is no Arrow type"):
        CsvSource("x.csv", timestamp_field="ts", schema={"a": kind})


def test_header_is_true_or_false() -> None:
    word: Any = "no"
    with pytest.raises(ConfigError, match=r"^source 'x\.csv': header is 'no' \(give True or False\)"):
        CsvSource("x.csv", timestamp_field="ts", header=word)


# ------------------------------------------------------------------------------ dialects


def test_delimiter_header_and_names(context: SourceContext) -> None:
    text = "2026-11-01|5\n2026-11-02|6\n"
    named = scan(context, text, delimiter="|", header=False, schema={"ts": "date32", "n": "int32"})
    assert read(named)["n"].to_pylist() == [5, 6]
    unnamed = scan(context, text, delimiter="|", header=False, timestamp_field="f0")
    assert unnamed.schema == pa.schema([("f0", pa.date32()), ("f1", pa.int64())])
    with pytest.raises(SourceReadError, match="Expected 1 columns"):
        scan(context, text, delimiter="|", header=False, schema={"ts": "date32"})
    with pytest.raises(ConfigError, match=r"delimiter '\|\|' is not one character"):
        CsvSource("x.csv", timestamp_field="ts", delimiter="||")


def test_compressed_files(context: SourceContext) -> None:
    (context.repo_path / "x.csv.gz").write_bytes(gzip.compress(b"ts,n\n2026-11-01,1"))
    source = CsvSource("x.csv.gz", timestamp_field="ts")
    source.append(pa.table({"n": [2]}), context)
    assert read(source.scan(context))["n"].to_pylist() == [1, 2]
    assert gzip.decompress((context.repo_path / "x.csv.gz").read_bytes()).endswith(b"\n,2\n")
    CsvSource("new.csv.gz", timestamp_field="ts").append(pa.table({"ts": [1]}), context, create=True)
    assert gzip.decompress((context.repo_path / "new.csv.gz").read_bytes()) == b'"ts"\n1\n'
    (context.repo_path / "cut.csv.gz").write_bytes(gzip.compress(b"ts,n\n2026-11-01,1\n" * 999)[:40])
    with pytest.raises(SourceReadError, match=r"cut\.csv\.gz"):
        CsvSource("cut.csv.gz", timestamp_field="ts").scan(context)


def test_quoted_text_over_lines_and_a_mark_of_byte_order(context: SourceContext) -> None:
    found = read(scan(context, '\ufeffts,s\r\n2026-11-01,"a\r\nb ""c"", d"\r\n2026-11-02,e\r\n'))
    assert found["s"].to_pylist() == ['a\r\nb "c", d', "e"]
    assert found.schema.names == ["ts", "s"]


def test_files_of_a_folder_that_differ(context: SourceContext) -> None:
    scan(context, "ts,code,n\n2026-11-01,007,1\n", "1.csv")
    scan(context, "ts,n,code,more\n2026-11-01T00:00:00Z,2.5,A1,true\n", "2.csv")
    found = read(CsvSource(".", timestamp_field="ts").scan(context))
    assert found.schema == pa.schema([("ts", UTC), ("code", pa.string()), ("n", pa.float64()), ("more", pa.bool_())])
    assert found.drop_columns("ts").to_pylist() == [
        {"code": "007", "n": 1.0, "more": None},
        {"code": "A1", "n": 2.5, "more": True},
    ]
    assert found["ts"][0] == found["ts"][1]


def test_partitions(context: SourceContext) -> None:
    for key in (1, 2):
        (context.repo_path / f"d/k={key}").mkdir(parents=True)
        scan(context, "ts,n\n2026-11-01,1\n", f"d/k={key}/x.csv")
    source = CsvSource("d", timestamp_field="ts")
    found = source.scan(context)
    assert read(found, ["k", "n"], found.pieces(Prune("ts", None, None, {"k": pa.array([2])}))).to_pylist() == [
        {"k": 2, "n": 1}
    ]
    source.append(pa.table({"n": [5], "k": [3], "ts": pa.array([0], UTC)}), context)
    assert read(source.scan(context), ["k"])["k"].to_pylist() == [1, 2, 3]


# ------------------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("text", "row", "value"),
    [
        ("ts,n\n2026-11-01T00:00:00Z,1\nyesterday,2\n", 2, "yesterday"),
        ("ts,n\nsoon,1\n2026-11-01,2\n", 1, "soon"),
        ('ts,n\n2026-11-01 00:00,"a\nb"\n,2\n2026-13-01 00:00,3\n', 3, "2026-13-01 00:00"),
        ("ts,n\n2026-11-01T00:00:00Z,1\n2026-11-01T00:00:00,2\n", 2, "2026-11-01T00:00:00"),
        ("ts,n\n1.5,1\n", 1, "1.5"),
    ],
)
@pytest.mark.parametrize("declared", [None, {"ts": "timestamp[us, tz=UTC]"}])
def test_a_bad_timestamp_is_named(
    context: SourceContext, text: str, row: int, value: str, declared: dict[str, str] | None
) -> None:
    with pytest.raises(ColumnTypeError) as caught:
        scan(context, text, schema=declared)
    assert f"x.csv: row {row}, column 'ts': '{value}' is no timestamp" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bad_timestamp_far_down(context: SourceContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_dialect, "_BLOCK", 2_000)
    lines = ["2026-11-01T00:00:00Z"] * 5_000
    lines[4_321] = "2026-11-01T25:00:00Z"
    with pytest.raises(ColumnTypeError, match="row 4322, column 'ts': '2026-11-01T25:00:00Z'"):
        scan(context, "ts\n" + "\n".join(lines) + "\n")


def test_a_value_that_is_not_of_its_declared_type(context: SourceContext) -> None:
    found = scan(context, "ts,n\n2026-11-01,5\n2026-11-01,5x\n", schema={"n": "int32"})
    with pytest.raises(ColumnTypeError, match=r"x\.csv: row 2, column 'n': '5x' is no int32 \(mend the value"):
        read(found)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Empty CSV file"),
        ("ts,a\n2026-11-01,1\n2026-11-01,1,2\n", "Expected 2 columns, got 3"),
        ("ts,a,a\n2026-11-01,1,2\n", "two columns 'a'"),
    ],
)
def test_malformed_files_are_named(context: SourceContext, text: str, words: str) -> None:
    with pytest.raises(SourceReadError, match=rf"x\.csv.*{words}"):
        scan(context, text)


# ------------------------------------------------------------------------------ appending


def test_append_keeps_the_text_that_was_there(context: SourceContext) -> None:
    before = "ts,code,n,flag\n1700000000, spaced ,1.50,\n"
    (context.repo_path / "x.csv").write_text(before.rstrip("\n"))
    source = CsvSource("x.csv", timestamp_field="ts", schema={"ts": "timestamp[s, tz=UTC]", "code": "string"})
    source.append(
        pa.table({"ts": pa.array([1700000001_500], pa.timestamp("ms")), "code": ["a,b"], "flag": [True]}), context
    )
    assert (context.repo_path / "x.csv").read_text() == before + '1700000001,"a,b",,true\n'
    assert read(source.scan(context))["code"].to_pylist() == [" spaced ", "a,b"]


def test_append_to_a_column_that_looked_narrower(context: SourceContext) -> None:
    path = context.repo_path / "x.csv"
    path.write_text("ts,n\n2026-11-01,1\n")
    new = pa.table({"ts": pa.array([1700000000], pa.timestamp("s")), "n": [2.5]})
    wanted = r"x\.csv: column 'n' is double and does not fit int64: .*\(.*CsvSource\(schema=\.\.\.\)\)"
    with pytest.raises(ColumnTypeError, match=wanted):
        CsvSource("x.csv", timestamp_field="ts").append(new, context)
    CsvSource("x.csv", timestamp_field="ts", schema={"n": "double"}).append(new, context)
    assert read(CsvSource("x.csv", timestamp_field="ts").scan(context))["n"].to_pylist() == [1.0, 2.5]


def test_a_query_string_that_duckdb_reads(context: SourceContext) -> None:
    import duckdb

    scan(context, "ts;n\n2026-11-01;1\n")
    source = CsvSource(context.repo_path / "x.csv", timestamp_field="ts", delimiter=";")
    assert duckdb.sql(f"select n from {source.get_table_query_string()}").fetchall() == [(1,)]
