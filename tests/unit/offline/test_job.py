"""The one retrieval job: pandas beside Arrow, streams, and what it says about itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from feast.infra.offline_stores.offline_store import RetrievalMetadata

from tests.contract.engine_kit import Kit, MemorySource, micros, read, rows_of, view
from yummy_feast.errors import EntityRowsError, RetrievalError
from yummy_feast.offline.engines.base import Explanation
from yummy_feast.offline.entity_rows import EntityRows
from yummy_feast.offline.job import HistoricalAnswer, RangeAnswer, YummyRetrievalJob
from yummy_feast.offline.plan import RetrievalPlan
from yummy_feast.sources.base import SourceContext


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    return Kit("duckdb", "memory", tmp_path)


def history(kit: Kit, rows: EntityRows, features: dict[str, pa.DataType]) -> YummyRetrievalJob:
    table = rows_of(k=[1, 2], t=[1, 1], v=[10, None], w=["a", "b"], l=[[1], None])
    one = view(kit.source(table), features)
    plan = RetrievalPlan((one,), tuple(features), (), (), full_feature_names=True)
    metadata = RetrievalMetadata(features=["a_view:v"], keys=["k"])
    return YummyRetrievalJob(
        HistoricalAnswer(plan, rows, kit.engine.point_in_time(plan, rows)),
        SourceContext(kit.folder),
        metadata=metadata,
        full_feature_names=True,
    )


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "k": pd.array([2, None, 1], dtype="Int64"),
            "event_timestamp": pd.to_datetime([5, 5, 5], unit="us", utc=True),
            "mixed": [1, "x", None],
            "level": pd.Categorical(["a", None, "b"]),
        },
        index=[9, 9, 9],
    )


V = {"v": pa.int64()}


def test_pandas_gets_its_own_columns_back_and_features_beside_them(kit: Kit) -> None:
    given = frame()
    job = history(kit, EntityRows.of_pandas(given), V | {"w": pa.string()})
    found = job.to_df()
    pd.testing.assert_frame_equal(found[list(given.columns)], given.reset_index(drop=True))
    assert found["v"].fillna(-1).tolist() == [-1, -1, 10]
    assert found["w"].where(found["w"].notna(), None).tolist() == ["b", None, "a"]
    with pytest.raises(EntityRowsError, match="'mixed' holds values of several types"):
        job.to_arrow()
    # The frame that was handed out is the caller's.
    found["k"] = 0
    pd.testing.assert_frame_equal(job.to_df()[list(given.columns)], given.reset_index(drop=True))


def test_arrow_in_arrow_out(kit: Kit) -> None:
    rows = EntityRows.of_arrow(pa.table({"k": [1, 3], "event_timestamp": micros(5, 5)}))
    job = history(kit, rows, V | {"l": pa.list_(pa.int64())})
    table = job.to_arrow()
    assert table.schema.names == ["k", "event_timestamp", "v", "l"]
    assert table["l"].to_pylist() == [[1], None]
    assert job.to_df()["k"].tolist() == [1, 3]
    assert job.to_record_batch_reader().read_all() == table
    assert job.to_feast_df().data == table


def test_no_features_at_all(kit: Kit) -> None:
    found = history(kit, EntityRows.of_pandas(frame()), {}).to_df()
    assert list(found.columns) == list(frame().columns)
    assert len(found) == 3


def test_what_the_job_says_about_itself(kit: Kit, capsys: pytest.CaptureFixture[str]) -> None:
    job = history(kit, EntityRows.of_pandas(frame()), V)
    assert job.full_feature_names
    assert job.on_demand_feature_views == []
    assert job.metadata is not None
    assert job.metadata.keys == ["k"]
    job.explain()
    assert capsys.readouterr().out == str(job.explanation()) + "\n"
    assert [line.split()[0] for line in str(job.explanation()).splitlines()] == [
        "duckdb:", "a_view", "source", "reads", "columns", "time", "rows",
    ]  # fmt: skip


def test_an_engine_that_loses_rows_is_caught(kit: Kit) -> None:
    class Lossy:
        def table(self) -> pa.Table:
            return pa.table({"v": [1]})

        def together(self) -> None: ...

        def frame(self) -> None: ...

        def explanation(self) -> Explanation:
            return Explanation("lossy", "")

    rows = EntityRows.of_pandas(frame().drop(columns="mixed"))
    plan = RetrievalPlan((), ("v",), (), (), full_feature_names=False)
    job = YummyRetrievalJob(HistoricalAnswer(plan, rows, Lossy()), SourceContext(kit.folder))
    for ask in (job.to_df, job.to_arrow):
        with pytest.raises(RetrievalError, match="3 entity rows became 1 rows"):
            ask()


# ------------------------------------------------------------------------------------------------- ranges


def ranges(kit: Kit, source: Any, what: str = "between", **options: Any) -> YummyRetrievalJob:
    engine = kit.engine
    answer = RangeAnswer(read(source, "v", **options), getattr(engine, what), "all rows", engine)
    return YummyRetrievalJob(answer, SourceContext(kit.folder))


def test_a_range_streams_without_reading_ahead(kit: Kit) -> None:
    tables = [rows_of(k=[n], t=[n], v=[n]) for n in range(50)]
    source = MemorySource(tables)
    kit.settings["threads"] = 2
    seen: list[int] = []

    class Counting(type(source.parts[0])):  # type: ignore[misc]
        def read(self, columns: Any) -> Any:
            seen.append(1)
            yield from super().read(columns)

    source.parts = [Counting(part.batches) for part in source.parts]
    reader = ranges(kit, source).to_record_batch_reader()
    assert reader.read_next_batch()["v"].to_pylist() == [0]
    assert len(seen) < 10
    assert reader.read_all()["v"].to_pylist() == list(range(1, 50))


def test_a_range_is_one_chunk_with_the_dummy_entity_where_there_is_none(kit: Kit) -> None:
    source = kit.source(rows_of(k=[1, 2, 3], t=[1, 2, 3], v=[1, 2, 3]), 1, 2)
    table = ranges(kit, source).to_arrow()
    assert [column.num_chunks for column in table.columns] == [1, 1, 1]
    keyless = ranges(kit, source, keys=())
    assert keyless.to_arrow().to_pydict()["__dummy_id"] == [""] * 3
    assert keyless.to_record_batch_reader().read_all()["__dummy_id"].to_pylist() == [""] * 3
    assert keyless.to_df()["v"].tolist() == [1, 2, 3]


def test_explain_of_a_range(kit: Kit) -> None:
    source = kit.source(rows_of(k=[1], t=[1], v=[1]))
    assert str(ranges(kit, source).explanation()) == "duckdb: all rows of memory from the beginning to the end: k, v, t"
    text = str(ranges(kit, source, start=0, end=1).explanation())
    assert "from 1970-01-01 00:00:00+00:00 to 1970-01-01 00:00:00.000001+00:00" in text


def test_large_integers_stay_exact_in_arrow(kit: Kit) -> None:
    rows = EntityRows.of_arrow(pa.table({"k": [1], "event_timestamp": micros(5)}))
    source = kit.source(rows_of(k=[1], t=[1], v=[2**62 + 1]))
    plan = RetrievalPlan((view(source),), ("v",), (), (), full_feature_names=False)
    job = YummyRetrievalJob(
        HistoricalAnswer(plan, rows, kit.engine.point_in_time(plan, rows)), SourceContext(kit.folder)
    )
    assert job.to_arrow()["v"].to_pylist() == [2**62 + 1]
    assert job.to_df()["v"].dtype == np.int64
