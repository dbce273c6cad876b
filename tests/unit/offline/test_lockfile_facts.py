from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from yummy_feast.offline.entity_rows import EntityRows
from yummy_feast.offline.lockfile import Column, Feature, Rows, View
from yummy_feast.offline.lockfile_facts import (
    answer_facts,
    difference,
    entity_facts,
    labels,
    packages,
    rows_difference,
    source_facts,
    view_facts,
)
from yummy_feast.offline.plan import FeatureColumn, ViewPlan
from yummy_feast.sources.delta import DeltaSource
from yummy_feast.sources.iceberg import IcebergSource
from yummy_feast.sources.looks import Look
from yummy_feast.sources.parquet import ParquetSource

MOMENTS = [datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)]


def frame(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"driver": [1, 2], "event_timestamp": MOMENTS, "town": ["a", None]} | columns)


def test_entity_rows_are_the_same_in_every_form() -> None:
    pandas = entity_facts(EntityRows.of_pandas(frame()))
    assert list(pandas.columns) == ["driver", "event_timestamp", "town"]
    assert pandas.columns["town"].type == "string"
    table = pa.Table.from_pandas(frame())
    chunked = pa.concat_tables([table.slice(0, 1), table.slice(1)])
    coded = table.set_column(2, "town", table.column("town").dictionary_encode())
    for other in (table, chunked, coded):
        assert entity_facts(EntityRows.of_arrow(other)) == pandas
    assert entity_facts(EntityRows.of_pandas(frame(town=pd.Categorical(["a", None])))) == pandas


def test_entity_columns_that_arrow_cannot_hold_count_too() -> None:
    one, other = (entity_facts(EntityRows.of_pandas(frame(note=[1, text]))) for text in ("two", "three"))
    assert one.columns.keys() == {"driver", "event_timestamp", "town", "note"}
    assert rows_difference(one, other) == "other values in 'note'"


def test_rows_without_an_order_are_sorted_first() -> None:
    rows = frame(tags=[["x"], ["y"]])
    there, back = (EntityRows.of_arrow(pa.Table.from_pandas(part)) for part in (rows, rows.iloc[::-1]))
    assert entity_facts(there) != entity_facts(back)
    assert entity_facts(there, ordered=False) == entity_facts(back, ordered=False)
    answers = [part.table().append_column("v", pa.array(v)) for part, v in ((there, [1, 2]), (back, [2, 1]))]
    for ordered in (True, False):
        one, other = (answer_facts(table, there.names, ordered=ordered) for table in answers)
        assert (one == other) is not ordered
        assert list(one.columns) == ["v"]
        assert one.ordered is ordered


def test_a_view_has_what_bears_on_the_answer() -> None:
    source = ParquetSource("a.parquet", timestamp_field="ts")
    features = (FeatureColumn("r", "rate", pa.list_(pa.float32())),)
    plan = ViewPlan("stats", source, (("driver", "id"),), features, "ts", "made", 1_500_000, True)
    assert view_facts(plan, "a") == View(
        "a", {"driver": "id"}, {"rate": Feature("r", "list<float>")}, "ts", "made", 1.5
    )


@pytest.mark.parametrize(
    ("source", "settings"),
    [
        (DeltaSource("t", version=3, timestamp_field="ts"), {"path": "t"}),
        (DeltaSource("t", timestamp="2026-01-01", timestamp_field="ts"), {"path": "t"}),
        (IcebergSource(table="a.b.c", branch="audit", timestamp_field="ts"), {"table": "a.b.c"}),
        (ParquetSource(["a", "b"], timestamp_field="ts"), {"path": ["a", "b"]}),
    ],
    ids=lambda item: getattr(item, "format", ""),
)
def test_a_source_has_its_settings_but_the_moment(source: Any, settings: dict[str, Any]) -> None:
    facts = source_facts(source, {"version": 7})
    assert (facts.settings, facts.read) == (settings, {"version": 7})
    assert facts.type == f"yummy_feast.sources.{source.format}.{type(source).__name__}"


def test_sources_of_one_name_are_told_apart() -> None:
    looks = {str(number): Look(DeltaSource("t", version=number, timestamp_field="ts"), {}) for number in range(3)}
    assert labels(looks) == {"0": "t", "1": "t (2)", "2": "t (3)"}


def test_the_first_difference_is_named() -> None:
    then = View("s", {"k": "k"}, {"v": Feature("v", "int64")}, "ts", None, 60.0)
    assert difference(then, then) == ""
    assert difference(then, View("s", {"k": "k"}, {"v": Feature("w", "int64")}, "ts", None, 30.0)) == (
        'features.v.column is "w", it was "v"'
    )
    assert difference(then, View("s", {}, then.features, "ts", "made", 60.0)) == 'join_keys.k is missing, it was "k"'
    assert difference({"a": 1}, {"a": 1, "b": {"c": 2}}) == 'b is new: {"c": 2}'
    assert difference(then, None, "view").startswith('view is null, it was {"source": "s"')
    assert difference({"a": "x" * 99}, {"a": ""}).endswith("...")


def test_tables_differ_in_words_of_tables() -> None:
    def rows(count: int = 2, **columns: str) -> Rows:
        return Rows(count, {name: Column(*text.split()) for name, text in columns.items()})

    then = rows(a="int64 1", b="string 2")
    assert rows_difference(then, then) == ""
    assert rows_difference(then, rows(3, a="int64 1")) == "3 rows instead of 2"
    assert rows_difference(then, rows(b="string 2", a="int64 1")) == "columns b, a instead of a, b"
    assert rows_difference(then, rows(a="int32 7", b="string 2")) == "column 'a' is int32 instead of int64"
    assert rows_difference(then, rows(a="int64 7", b="string 8")) == "other values in 'a', 'b'"


def test_packages_are_those_installed(tmp_path: Path) -> None:
    found = packages()
    assert found["feast"].startswith("0.67")
    assert {"python", "pyarrow", "duckdb"} <= found.keys()
