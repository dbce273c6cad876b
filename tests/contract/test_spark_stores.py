"""Both engines answer alike on Google Cloud Storage and on Azure: there by Google's connector or on the executors.

Slow: needs Java and jars. S3 is in ``test_spark_lakes``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.contract.format_cases import CsvFolder, DeltaTable, FormatCase, IcebergTable, ParquetFolder
from tests.contract.lake_kit import answers, parts
from tests.google_server import TOKEN, GoogleServer
from tests.spark_session import require_google_connector
from tests.store_servers import server_at
from yummy_feast.sources.base import SourceContext
from yummy_feast.spark.session import session as session_of
from yummy_feast.spark.settings import SparkSettings

pytestmark = [pytest.mark.slow, pytest.mark.spark]

KINDS: list[type[FormatCase]] = [ParquetFolder, DeltaTable, IcebergTable]


@pytest.fixture
def session(request: pytest.FixtureRequest) -> Any:
    """A session with Google's connector."""
    require_google_connector()
    return request.getfixturevalue("spark_session")


@pytest.mark.parametrize(
    ("store", "kind"),
    [*(("gcs", kind) for kind in KINDS), *(("azure", kind) for kind in (*KINDS, CsvFolder))],
    ids=lambda item: getattr(item, "name", item),
)
def test_both_engines_answer_alike(
    request: pytest.FixtureRequest, session: Any, tmp_path: Path, store: str, kind: type[FormatCase]
) -> None:
    case = kind(tmp_path, server_at(request, store))
    assert session_of(SparkSettings.behind(case.context, 2)) is session
    case.lay(parts())
    native = case.source().scan(case.context).native(["ts", "id"])
    assert (native is not None) is (store == "gcs")
    embedded, spark = answers(case.context, case.source(timestamp_field="ts"))
    assert embedded.num_rows == 26
    assert embedded["name"].null_count < 20
    assert spark.equals(embedded)


@pytest.mark.parametrize("kind", [CsvFolder, IcebergTable], ids=lambda kind: kind.name)
def test_an_access_token_is_enough_for_executors(
    request: pytest.FixtureRequest, session: Any, tmp_path: Path, kind: type[FormatCase]
) -> None:
    server = server_at(request, "gcs")
    assert isinstance(server, GoogleServer)
    case = kind(tmp_path, server)
    case.lay(parts())
    options = {**server.options, "google_access_token": TOKEN}
    request.getfixturevalue("monkeypatch").delenv("GOOGLE_APPLICATION_CREDENTIALS")
    case.context = SourceContext(tmp_path, options, case.context.catalogs)
    assert session_of(SparkSettings.behind(case.context, 2)) is session
    assert case.source().scan(case.context).native(["ts", "id"]) is None
    embedded, spark = answers(case.context, case.source(timestamp_field="ts"))
    assert embedded["name"].null_count < 20
    assert spark.equals(embedded)
