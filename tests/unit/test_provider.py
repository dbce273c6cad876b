"""Who carries a feature view's rows: our stream, Feast's engine, or nobody."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pandas as pd
import pytest
from feast import (
    BatchFeatureView,
    Entity,
    FeatureView,
    Field,
    PushSource,
    RepoConfig,
    RequestSource,
    StreamFeatureView,
)
from feast.aggregation import Aggregation
from feast.infra.common.materialization_job import MaterializationJobStatus
from feast.infra.compute_engines.local.compute import LocalComputeEngine
from feast.infra.compute_engines.local.job import LocalMaterializationJob
from feast.infra.provider import get_provider
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64
from feast.value_type import ValueType

from tests.feast.other_engine import OtherEngine
from yummy_feast.errors import ConfigError
from yummy_feast.materialization import engine
from yummy_feast.materialization.copying import Outcome
from yummy_feast.materialization.engine import YummyBatchEngine
from yummy_feast.provider import YummyProvider
from yummy_feast.sources.parquet import ParquetSource

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
RANGE = (NOON, NOON + timedelta(hours=1))
DRIVER = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
OURS = {"type": "yummy_feast.YummyOfflineStore"}, {"type": "yummy_feast.YummyOnlineStore"}
ROWS = ParquetSource("rows.parquet", timestamp_field="known_at")
TRIPS = [Field(name="trips", dtype=Int64)]
STREAM, FEAST = "our stream", "Feast's engine"


def view(**options: Any) -> FeatureView:
    return FeatureView(name="stats", entities=[DRIVER], schema=TRIPS, source=ROWS, **options)


def provider(folder: Path, offline: Any = OURS[0], online: Any = OURS[1], **top: Any) -> YummyProvider:
    config = RepoConfig(
        project="lab",
        provider="yummy_feast.YummyProvider",
        registry=str(folder / "registry.db"),
        offline_store=offline,
        online_store=online,
        entity_key_serialization_version=3,
        repo_path=folder,
        **top,
    )
    found = get_provider(config)
    assert isinstance(found, YummyProvider)
    return found


@pytest.mark.parametrize(
    ("block", "value"),
    [("registry", "${REG:-x.db}"), ("auth", {"type": "${WAY:-no_auth}"}), ("batch_engine", {"type": "${ENGINE}"})],
)
def test_variables_that_feast_leaves_unfilled_are_refused(block: str, value: Any) -> None:
    blocks = {"registry": "x.db", "auth": {"type": "no_auth"}, "batch_engine": "local", block: value}
    config = SimpleNamespace(
        registry_config=blocks["registry"], auth=blocks["auth"], batch_engine_config=blocks["batch_engine"]
    )
    with pytest.raises(ConfigError, match=rf"^feature_store\.yaml: {block}.* is not filled"):
        YummyProvider(cast("RepoConfig", config))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Who was told to carry which view and range."""
    calls: list[tuple[Any, ...]] = []

    def stream(stores: Any, tasks: Any, done: Any) -> list[Outcome]:
        calls.extend((STREAM, task.view.name, task.start, task.end) for task in tasks)
        return [Outcome() for _ in tasks]

    def feasts(self: Any, registry: Any, task: Any, **options: Any) -> LocalMaterializationJob:
        calls.append((FEAST, task.feature_view.name, task.start_time, task.end_time))
        return LocalMaterializationJob(job_id="job", status=MaterializationJobStatus.SUCCEEDED)

    monkeypatch.setattr(engine, "copy", stream)
    for kind in (LocalComputeEngine, OtherEngine):
        monkeypatch.setattr(kind, "_materialize_one", feasts)
    return calls


def carry(by: YummyProvider, table: Any, **options: Any) -> None:
    registry: Any = None
    by.materialize_single_feature_view(by.repo_config, table, *RANGE, registry, "lab", lambda _: None, **options)  # type: ignore[arg-type,return-value]


LOCAL = [None, "local", {"type": "local"}, {"type": "local", "backend": "pandas"}]


@pytest.mark.parametrize("spelling", LOCAL)
def test_our_stream_carries_plain_views_between_our_stores(tmp_path: Path, told: list[Any], spelling: Any) -> None:
    ours = provider(tmp_path, **({} if spelling is None else {"batch_engine": spelling}))
    carry(ours, view())
    assert told == [(STREAM, "stats", *RANGE)]
    assert type(ours.batch_engine) is YummyBatchEngine


def test_the_engine_is_made_once_and_keeps_what_feast_gave_it(tmp_path: Path) -> None:
    ours = provider(tmp_path, batch_engine=LOCAL[-1])
    made = cast("YummyBatchEngine", ours.batch_engine)
    assert ours.batch_engine is made
    assert made.backend_name == "pandas"
    assert made.repo_config is ours.repo_config
    assert made.offline_store is ours.offline_store
    assert made.online_store is ours.online_store
    assert cast("YummyBatchEngine", provider(tmp_path).batch_engine).backend_name is None


@pytest.mark.parametrize(
    ("offline", "online", "top", "kind"),
    [
        ({"type": "dask"}, OURS[1], {}, LocalComputeEngine),
        (OURS[0], {"type": "sqlite"}, {}, LocalComputeEngine),
        ({"type": "dask"}, {"type": "sqlite"}, {}, LocalComputeEngine),
        (*OURS, {"batch_engine": {"type": "tests.feast.other_engine.OtherEngine"}}, OtherEngine),
    ],
    ids=["offline", "online", "both", "engine"],
)
def test_feasts_engine_carries_what_is_not_ours(
    tmp_path: Path, told: list[Any], offline: Any, online: Any, top: dict[str, Any], kind: type
) -> None:
    feasts = provider(tmp_path, offline, online, **top)
    carry(feasts, view())
    assert told == [(FEAST, "stats", *RANGE)]
    assert type(feasts.batch_engine) is kind
    # Marks stay Feast's own.
    assert not feasts.batch_engine.supports_batch
    assert not feasts.batch_engine.applies_materialization


def _same(data: pd.DataFrame) -> pd.DataFrame:
    return data


@pytest.mark.filterwarnings("ignore:Batch feature views are experimental features:RuntimeWarning")
@pytest.mark.parametrize(
    "more",
    [
        {"udf": _same, "mode": "pandas"},
        {"aggregations": [Aggregation(column="trips", function="sum")]},
        {"source": [view()], "sink_source": ROWS},
        {"enable_validation": True},
    ],
    ids=lambda more: next(iter(more)),
)
def test_feasts_engine_carries_views_that_are_more_than_rows(
    tmp_path: Path, told: list[Any], more: dict[str, Any]
) -> None:
    given: dict[str, Any] = {"name": "more", "entities": [DRIVER], "schema": TRIPS, "source": ROWS, **more}
    carry(provider(tmp_path), BatchFeatureView(**given))
    assert told == [(FEAST, "more", *RANGE)]


def test_feasts_engine_carries_validated_and_filtered_views(tmp_path: Path, told: list[Any]) -> None:
    filtered = view()
    filtered.filter = "trips > 1"  # type: ignore[attr-defined] # Feast's engine looks for it
    carry(provider(tmp_path), filtered)
    carry(provider(tmp_path), view(enable_validation=True))
    assert told == [(FEAST, "stats", *RANGE)] * 2


@pytest.mark.filterwarnings("ignore:Batch feature views are experimental features:RuntimeWarning")
def test_our_stream_carries_batch_and_stream_views_that_are_rows(tmp_path: Path, told: list[Any]) -> None:
    pushed = PushSource(name="pushed", batch_source=ROWS)
    carry(provider(tmp_path), StreamFeatureView(name="stream", entities=[DRIVER], schema=TRIPS, source=pushed))
    batch = BatchFeatureView(name="batch", entities=[DRIVER], schema=TRIPS, source=ROWS, online=True)
    carry(provider(tmp_path), batch)
    assert told == [(STREAM, "stream", *RANGE), (STREAM, "batch", *RANGE)]


def test_an_on_demand_view_has_no_rows_to_carry(tmp_path: Path, told: list[Any]) -> None:
    @on_demand_feature_view(  # type: ignore[untyped-decorator]
        sources=[RequestSource(name="asked", schema=[Field(name="a", dtype=Float64)])],
        schema=[Field(name="b", dtype=Float64)],
        mode="python",
        write_to_online_store=True,
    )
    def derived(inputs: dict[str, Any]) -> dict[str, Any]:
        return {"b": inputs["a"]}

    carry(provider(tmp_path), derived)
    assert told == []


def test_nobody_carries_a_plain_view_that_is_not_online(tmp_path: Path, told: list[Any]) -> None:
    carry(provider(tmp_path), view(online=False, offline=True))
    assert told == []


@pytest.mark.parametrize("validated", [False, True])
def test_without_event_timestamps_the_range_is_everything_until_now(
    tmp_path: Path, told: list[Any], validated: bool
) -> None:
    before = datetime.now(UTC)
    carry(provider(tmp_path), view(enable_validation=validated), disable_event_timestamp=True)
    ((who, _, start, end),) = told
    assert who == (FEAST if validated else STREAM)
    assert start == datetime(1, 1, 1, tzinfo=UTC)
    assert before <= end <= datetime.now(UTC)
