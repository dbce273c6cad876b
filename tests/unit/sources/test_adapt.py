"""Feast's own sources as ours."""

import datetime as dt
import warnings
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import FileSource, KafkaSource, PushSource, RequestSource
from feast.data_format import AvroFormat, DeltaFormat, FileFormat, ParquetFormat
from feast.data_source import DataSource
from feast.field import Field
from feast.types import Int64

from tests.contract.format_cases import read
from yummy_feast.errors import ConfigError
from yummy_feast.sources.adapt import as_yummy_source
from yummy_feast.sources.base import SourceContext, YummySource
from yummy_feast.sources.delta import DeltaSource
from yummy_feast.sources.parquet import ParquetSource


def test_ours_is_left_alone() -> None:
    source = ParquetSource("a", timestamp_field="ts")
    assert as_yummy_source(source) is source


@pytest.mark.parametrize(
    ("file_format", "kind"), [(None, ParquetSource), (ParquetFormat(), ParquetSource), (DeltaFormat(), DeltaSource)]
)
def test_a_file_source_keeps_all_it_says(file_format: FileFormat | None, kind: type[YummySource]) -> None:
    theirs = FileSource(
        path="s3://b/a",
        name="n",
        file_format=file_format,
        timestamp_field="ts",
        created_timestamp_column="made",
        field_mapping={"a": "b"},
        s3_endpoint_override="http://localhost:9",
        description="d",
        tags={"x": "y"},
        owner="o",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = as_yummy_source(theirs)
        again = as_yummy_source(DataSource.from_proto(theirs.to_proto()))
    assert type(ours) is kind
    assert ours.location == "s3://b/a"
    assert ours.s3_endpoint_override == "http://localhost:9"
    for name in (
        "name",
        "timestamp_field",
        "created_timestamp_column",
        "field_mapping",
        "description",
        "tags",
        "owner",
    ):
        assert getattr(ours, name) == getattr(theirs, name)
    assert again == ours


def test_a_file_source_without_timestamp_can_be_read(tmp_path: Path) -> None:
    pq.write_table(pa.table({"event_timestamp": [dt.datetime(2026, 1, 1, tzinfo=dt.UTC)]}), tmp_path / "a.parquet")
    ours = as_yummy_source(FileSource(path=str(tmp_path / "a.parquet")))
    assert read(ours.scan(SourceContext(tmp_path))).num_rows == 1


def test_streams_stand_for_their_batch_source() -> None:
    batch = ParquetSource("a", timestamp_field="ts")
    stream = KafkaSource(
        name="k",
        timestamp_field="ts",
        message_format=AvroFormat(""),
        kafka_bootstrap_servers="",
        topic="",
        batch_source=batch,
    )
    assert as_yummy_source(stream) is batch
    assert as_yummy_source(PushSource(name="p", batch_source=batch)) is batch
    with pytest.raises(ConfigError, match="'p' has no batch_source"):
        as_yummy_source(PushSource(name="p"))


def test_what_cannot_be_read_is_named() -> None:
    with pytest.raises(ConfigError, match="'r' is a RequestSource"):
        as_yummy_source(RequestSource(name="r", schema=[Field(name="a", dtype=Int64)]))
