"""Who carries a feature view's rows: our stream, Feast's engine, or nobody."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from feast import Entity, FeatureView, Field, RepoConfig, RequestSource
from feast.infra.passthrough_provider import PassthroughProvider
from feast.infra.provider import get_provider
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64
from feast.value_type import ValueType

from yummy_feast import provider as module
from yummy_feast.errors import ConfigError
from yummy_feast.provider import YummyProvider
from yummy_feast.sources.parquet import ParquetSource

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
RANGE = (NOON, NOON + timedelta(hours=1))
DRIVER = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
OURS = {"type": "yummy_feast.YummyOfflineStore"}, {"type": "yummy_feast.YummyOnlineStore"}
STREAM, FEAST = "our stream", "Feast's engine"


def view(**options: Any) -> FeatureView:
    source = ParquetSource("rows.parquet", timestamp_field="known_at")
    schema = [Field(name="trips", dtype=Int64)]
    return FeatureView(name="stats", entities=[DRIVER], schema=schema, source=source, **options)


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

    def stream(config: Any, table: Any, start: Any, end: Any, *rest: Any) -> None:
        calls.append((STREAM, table.name, start, end))

    def engine(self: Any, config: Any, table: Any, start: Any, end: Any, *rest: Any) -> None:
        calls.append((FEAST, table.name, start, end))

    monkeypatch.setattr(module, "materialize", stream)
    monkeypatch.setattr(PassthroughProvider, "materialize_single_feature_view", engine)
    return calls


def carry(by: YummyProvider, table: Any, **options: Any) -> None:
    registry: Any = None
    by.materialize_single_feature_view(by.repo_config, table, *RANGE, registry, "lab", lambda _: None, **options)  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize("engine", [None, "local", {"type": "local"}, {"type": "local", "backend": "pandas"}])
def test_our_stream_carries_plain_views_between_our_stores(tmp_path: Path, told: list[Any], engine: Any) -> None:
    carry(provider(tmp_path, **({} if engine is None else {"batch_engine": engine})), view())
    assert told == [(STREAM, "stats", *RANGE)]


@pytest.mark.parametrize(
    ("offline", "online", "top"),
    [
        ({"type": "dask"}, OURS[1], {}),
        (OURS[0], {"type": "sqlite"}, {}),
        ({"type": "dask"}, {"type": "sqlite"}, {}),
        (*OURS, {"batch_engine": {"type": "tests.feast.other_engine.OtherEngine"}}),
    ],
)
def test_feasts_engine_carries_what_is_not_ours(
    tmp_path: Path, told: list[Any], offline: Any, online: Any, top: dict[str, Any]
) -> None:
    carry(provider(tmp_path, offline, online, **top), view())
    assert told == [(FEAST, "stats", *RANGE)]


@pytest.mark.filterwarnings("ignore:On demand feature view is an experimental feature:RuntimeWarning")
def test_feasts_engine_carries_views_that_are_more_than_rows(tmp_path: Path, told: list[Any]) -> None:
    @on_demand_feature_view(
        sources=[RequestSource(name="asked", schema=[Field(name="a", dtype=Float64)])],
        schema=[Field(name="b", dtype=Float64)],
        mode="python",
    )
    def derived(inputs: dict[str, Any]) -> dict[str, Any]:
        return {"b": inputs["a"]}

    carry(provider(tmp_path), view(enable_validation=True))
    carry(provider(tmp_path), derived)
    assert told == [(FEAST, "stats", *RANGE), (FEAST, "derived", *RANGE)]


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
