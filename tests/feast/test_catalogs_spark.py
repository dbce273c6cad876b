"""A feature store whose tables are in a catalog that a server keeps: written through Feast, read and replayed by both
engines after Spark has changed them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from feast import FeatureStore

from tests.catalog_servers import check_jars, served
from tests.feast.lockfiles import applied, fetch, history, locked, questions, view
from tests.feast.repo import feature_store
from yummy_feast.errors import SourceMovedError
from yummy_feast.sources.iceberg import IcebergSource

pytestmark = [pytest.mark.slow, pytest.mark.spark]


@pytest.mark.parametrize("kind", ["glue", "hive"])
def test_a_store_over_a_catalog(request: pytest.FixtureRequest, spark_session: Any, tmp_path: Path, kind: str) -> None:
    check_jars(spark_session, kind)
    with served(kind, tmp_path, request) as lake:
        source = IcebergSource(table=lake.name, name="stats", timestamp_field="event_timestamp")
        source.append(history(count=8), lake.context, create=True)
        settings = {"catalogs": {"prod": lake.keys}, "storage_options": lake.options}
        embedded = applied(tmp_path, view(source), **settings)
        stores = (embedded, feature_store(tmp_path, engine="spark", **settings))
        for number, store in enumerate(stores, 1):
            store.write_to_offline_store("stats", history(8 * number, 8).to_pandas())
        jobs = [fetch(store) for store in stores]
        before = [job.to_arrow() for job in jobs]
        assert before[0].equals(before[1])
        assert before[0]["rate"].null_count < 30
        locks = [locked(job, tmp_path) for job in jobs]
        assert locks[0].sources == locks[1].sources

        spark_session.sql(f"INSERT OVERWRITE {lake.name} SELECT driver_id, event_timestamp, -rate FROM {lake.name}")
        spark_session.sql(f"ALTER TABLE {lake.name} ADD COLUMN more bigint")
        after = rates(stores[0])
        assert after == rates(stores[1]) != before[0]["rate"].to_pylist()
        for lock, store in zip(locks, reversed(stores), strict=True):
            again = lock.get_historical_features(store, questions()).to_arrow()
            assert again["rate"].equals(before[0]["rate"])

        spark_session.sql(f"DROP TABLE {lake.name}")
        with pytest.raises(SourceMovedError, match=r"source 'stats' moved: .* cannot be read any more"):
            locks[0].get_historical_features(embedded, questions()).to_arrow()


def rates(store: FeatureStore) -> list[float | None]:
    found: list[float | None] = fetch(store).to_arrow()["rate"].to_pylist()
    return found
