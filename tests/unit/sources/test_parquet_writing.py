"""Adding rows to Parquet files, folders, globs and partitions; replacing them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.contract.format_cases import read
from yummy_feast.errors import ColumnTypeError, ConfigError, SourceReadError
from yummy_feast.sources.base import SourceContext
from yummy_feast.sources.parquet import ParquetSource

SECOND = 1_000_000
TIME = pa.timestamp("us", tz="UTC")


@pytest.fixture
def context(tmp_path: Path) -> SourceContext:
    return SourceContext(tmp_path)


def put(context: SourceContext, path: str, columns: dict[str, Any], **options: Any) -> Path:
    target = context.repo_path / path
    target.parent.mkdir(parents=True, exist_ok=True)
    rows = len(next(iter(columns.values())))
    times = pa.array([i * SECOND for i in range(rows)], pa.int64()).cast(TIME)
    pq.write_table(pa.table({"ts": times, **columns}), target, **options)
    return target


def test_append_to_a_file_keeps_its_codec_and_joins_small_groups(context: SourceContext) -> None:
    path = put(context, "x.parquet", {"id": [0]}, compression="zstd")
    source = ParquetSource("x.parquet", timestamp_field="ts")
    path.chmod(0o640)
    for number in range(1, 4):
        source.append(pa.table({"id": [number], "ts": pa.array([number], TIME)}), context)
    metadata = pq.read_metadata(path)
    assert (metadata.num_rows, metadata.num_row_groups) == (4, 1)
    assert metadata.row_group(0).column(0).compression == "ZSTD"
    assert path.stat().st_mode & 0o777 == 0o640


def test_append_keeps_large_row_groups(context: SourceContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yummy_feast.sources.parquet.BATCH_ROWS", 100)
    path = put(context, "x.parquet", {"id": list(range(250))}, row_group_size=60)
    ParquetSource("x.parquet", timestamp_field="ts").append(pa.table({"id": [250]}), context)
    metadata = pq.read_metadata(path)
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [120, 120, 11]
    assert pq.read_table(path)["id"].to_pylist() == list(range(251))
    empty = put(context, "e.parquet", {"id": pa.array([], pa.int64())})
    ParquetSource("e.parquet", timestamp_field="ts").append(pa.table({"id": [1]}), context)
    assert pq.read_table(empty)["id"].to_pylist() == [1]


def test_places_on_two_stores_are_two_sources(context: SourceContext) -> None:
    with pytest.raises(ConfigError, match="local and remote"):
        ParquetSource(["x.parquet", "s3://b/x.parquet"], timestamp_field="ts").scan(context)


def test_append_keeps_stored_types(context: SourceContext) -> None:
    table = pa.table(
        {
            "ts": pa.array([1], pa.timestamp("ms")),
            "d": pa.array(["a"]).dictionary_encode(),
            "u": pa.array([b"0" * 16], pa.uuid()),
            "n": pa.array([1], pa.int8()),
        }
    )
    pq.write_table(table, context.repo_path / "x.parquet")
    before = pq.read_schema(context.repo_path / "x.parquet")
    more = pa.table({"ts": pa.array([2_500_000], pa.timestamp("ns")), "d": ["b"], "u": [b"1" * 16], "n": [5]})
    ParquetSource("x.parquet", timestamp_field="ts").append(more, context)
    after = pq.read_table(context.repo_path / "x.parquet")
    assert after.schema.equals(before)
    assert after["d"].to_pylist() == ["a", "b"]
    assert after["ts"].cast(pa.int64()).to_pylist() == [1, 2]


def test_a_column_that_must_not_be_null(context: SourceContext) -> None:
    schema = pa.schema([pa.field("ts", TIME), pa.field("id", pa.int64(), nullable=False)])
    pq.write_table(pa.table({"ts": pa.array([1], TIME), "id": [1]}, schema=schema), context.repo_path / "x.parquet")
    with pytest.raises(ColumnTypeError, match="'id' must not be null"):
        ParquetSource("x.parquet", timestamp_field="ts").append(pa.table({"ts": pa.array([1], TIME)}), context)


def test_a_failing_append_leaves_the_file_as_it_was(context: SourceContext, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(context, "d/x.parquet", {"id": [0]})
    before = path.read_bytes()

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", fail)
    for place in ("d/x.parquet", "d"):
        with pytest.raises(OSError, match="disk full"):
            ParquetSource(place, timestamp_field="ts").append(pa.table({"id": [1]}), context)
    assert path.read_bytes() == before
    assert [item.name for item in path.parent.iterdir()] == ["x.parquet"]


def test_append_goes_to_the_right_partition(context: SourceContext) -> None:
    put(context, "d/day=2026-11-01/k=a/x.parquet", {"id": [0]})
    table = pa.table(
        {
            "id": [1, 2, 3],
            "ts": pa.array([1, 2, 3], TIME),
            "day": pa.array([dt.date(2026, 11, 1), dt.date(2026, 11, 2), None]),
            "k": ["a", "b/c d", "a"],
        }
    )
    source = ParquetSource("d", timestamp_field="ts")
    source.append(table, context)
    found = read(source.scan(context)).sort_by("id")
    assert found["day"].to_pylist() == [dt.date(2026, 11, 1), *table["day"].to_pylist()]
    assert found["k"].to_pylist() == ["a", "a", "b/c d", "a"]
    assert len(list((context.repo_path / "d" / "day=2026-11-01" / "k=a").iterdir())) == 2
    assert (context.repo_path / "d" / "day=__HIVE_DEFAULT_PARTITION__" / "k=a").is_dir()


def test_append_to_a_glob_and_to_a_list(context: SourceContext) -> None:
    put(context, "d/a.parquet", {"id": [0]})
    more = pa.table({"id": [1], "ts": pa.array([1], TIME)})
    source = ParquetSource("d/*.parquet", timestamp_field="ts")
    source.append(more, context)
    assert read(source.scan(context))["id"].to_pylist() == [0, 1]
    with pytest.raises(ConfigError, match="does not match"):
        ParquetSource("d/a*.parquet", timestamp_field="ts").append(more, context)
    for lists in (ParquetSource(["d/a.parquet", "d"], timestamp_field="ts"),):
        with pytest.raises(ConfigError, match="list of files"):
            lists.append(more, context)
    with pytest.raises(ConfigError, match="glob"):
        source.replace(more, context, allow_overwrite=True)
    assert len(source.files(context)) == 2


def test_what_append_creates(context: SourceContext) -> None:
    more = pa.table({"id": [1], "ts": pa.array([1], TIME)})
    for path, expected in (
        ("new/x.parquet", "new/x.parquet"),
        ("logs", "logs/part-*.parquet"),
        ("g/*.parquet", "g/part-*"),
    ):
        ParquetSource(path, timestamp_field="ts").append(more, context, create=True)
        assert len(list(context.repo_path.glob(expected))) == 1


def test_replacing_a_folder_removes_what_was_in_it(context: SourceContext) -> None:
    put(context, "d/k=1/a.parquet", {"id": [0]})
    put(context, "d/b.parquet", {"id": [0]})
    source = ParquetSource("d", timestamp_field="ts")
    source.replace(pa.table({"x": [1]}), context, allow_overwrite=True)
    assert read(source.scan(context)).to_pydict() == {"x": [1]}
    assert [path.name for path in context.repo_path.iterdir()] == ["d"]


# ------------------------------------------------------------------------------ folders that others write


def written_by_others(rows: int, told: int) -> Any:
    """Puts ``rows`` rows into the folder and says that it were ``told``."""

    def write(folder: str) -> int:
        for number in range(rows):
            pq.write_table(pa.table({"id": [number]}), Path(folder) / f"{number}.parquet")
        (Path(folder) / "_SUCCESS").touch()
        return told

    return write


@pytest.mark.parametrize("was_there", [True, False])
@pytest.mark.parametrize(("here", "told"), [(0, 3), (2, 3), (3, 3), (0, 0)])
def test_a_folder_that_lacks_rows_takes_no_other_ones_place(
    context: SourceContext, was_there: bool, here: int, told: int
) -> None:
    folder = context.repo_path / "kept"
    if was_there:
        put(context, "kept/old.parquet", {"id": [7]})
    source = ParquetSource("kept", timestamp_field="ts")
    if here == told:
        source.replace_by(written_by_others(here, told), context, allow_overwrite=True)
        assert sorted(path.name for path in folder.glob("*.parquet")) == [f"{number}.parquet" for number in range(here)]
        return
    with pytest.raises(SourceReadError, match=f"{told} rows were written, but {here} of them are here: the executors"):
        source.replace_by(written_by_others(here, told), context, allow_overwrite=True)
    assert [path.name for path in context.repo_path.iterdir()] == (["kept"] if was_there else [])
    if was_there:
        assert [path.name for path in folder.iterdir()] == ["old.parquet"]
