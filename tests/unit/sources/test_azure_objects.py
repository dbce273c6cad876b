"""What is particular to Azure: an object is seen empty before its bytes are there, also one that was there before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.azure_server import AzureServer
from tests.contract.format_cases import read
from tests.unit.sources.test_s3 import rows
from yummy_feast.errors import SourceReadError
from yummy_feast.sources import writing
from yummy_feast.sources.base import SourceContext
from yummy_feast.sources.files import Location
from yummy_feast.sources.iceberg import _newest_metadata
from yummy_feast.sources.parquet import ParquetSource


@pytest.fixture
def bucket(azure_server: AzureServer) -> str:
    return azure_server.bucket()


@pytest.fixture
def context(azure_server: AzureServer, tmp_path: Path) -> SourceContext:
    return SourceContext(tmp_path, azure_server.options)


def begin(server: AzureServer, path: str) -> pa.NativeFile:
    """An object whose writer has not finished."""
    return server.filesystem().open_output_stream(path)


def test_a_folder_has_no_file_that_is_being_written(
    azure_server: AzureServer, bucket: str, context: SourceContext
) -> None:
    source = ParquetSource(azure_server.uri(f"{bucket}/t"), timestamp_field="ts")
    source.append(rows(1), context, create=True)
    with begin(azure_server, f"{bucket}/t/part-2.parquet") as stream:
        assert read(source.scan(context))["id"].to_pylist() == [1]
        source.write(rows(2), "part-2.parquet", stream)
    assert sorted(read(source.scan(context))["id"].to_pylist()) == [1, 2]


def test_a_file_that_is_being_written_is_told(azure_server: AzureServer, bucket: str, context: SourceContext) -> None:
    source = ParquetSource(azure_server.uri(f"{bucket}/one.parquet"), timestamp_field="ts")
    with begin(azure_server, f"{bucket}/one.parquet") as stream:
        with pytest.raises(SourceReadError, match=r"one\.parquet is empty: it is being written.*\.one\.parquet\.\*"):
            source.scan(context)
        source.write(rows(2), "one.parquet", stream)
    assert read(source.scan(context))["id"].to_pylist() == [2]


def test_rows_outlive_a_writer_that_dies_over_a_file(
    azure_server: AzureServer, bucket: str, context: SourceContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = ParquetSource(azure_server.uri(f"{bucket}/one.parquet"), timestamp_field="ts")
    source.append(rows(1), context, create=True)
    plain = writing._put

    def dies(place: Location, content: pa.Buffer, *hint: Any) -> None:
        if place.path.endswith("/one.parquet"):
            with place.filesystem.open_output_stream(place.path):
                raise ConnectionResetError("the machine is gone")
        plain(place, content, *hint)

    with monkeypatch.context() as patched:
        patched.setattr(writing, "_put", dies)
        with pytest.raises(ConnectionResetError):
            source.append(rows(2), context)
    with pytest.raises(SourceReadError, match="is empty"):
        source.scan(context)
    files = azure_server.filesystem()
    (spare,) = [info.path for info in files.get_file_info(_all(bucket)) if ".one.parquet." in info.path]
    files.copy_file(spare, f"{bucket}/one.parquet")
    assert read(source.scan(context))["id"].to_pylist() == [1, 2]


def _all(bucket: str) -> Any:
    import pyarrow.fs as pafs

    return pafs.FileSelector(bucket, recursive=True)


def test_metadata_that_is_being_written_is_not_the_newest(
    azure_server: AzureServer, bucket: str, context: SourceContext
) -> None:
    from yummy_feast.sources.files import locate

    for number, content in ((1, b"{}"), (2, b"")):
        with begin(azure_server, f"{bucket}/t/metadata/v{number}.metadata.json") as stream:
            stream.write(content)
    assert _newest_metadata(locate(azure_server.uri(f"{bucket}/t"), context)).path.endswith("/v1.metadata.json")
