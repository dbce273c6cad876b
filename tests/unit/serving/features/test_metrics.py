"""What /metrics says after requests of which everything is known."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.serving.features.test_tally import tally_of
from yummy_feast.serving.features.endpoint import Stages
from yummy_feast.serving.features.metrics import FeatureMetrics


def stages() -> Stages:
    found = Stages(10.0)
    found.decoded, found.fetched, found.assembled = 10.0002, 10.0012, 10.0013
    return found


def told(metrics: FeatureMetrics) -> dict[str, float]:
    lines = metrics.exposition().decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def test_what_a_request_counts() -> None:
    metrics, tally = FeatureMetrics(), tally_of(3, 2)
    tally.add_row([1, 3], [1_000_000, 0])
    metrics.answered(stages(), 10.0014, 1, tally)
    metrics.answered(stages(), 10.0014, 30)
    metrics.refused("MALFORMED_JSON", 0.5)
    found = told(metrics)
    for name, value in {
        'yummy_features_requests_total{code="OK"}': 2,
        'yummy_features_requests_total{code="MALFORMED_JSON"}': 1,
        'yummy_features_request_seconds_bucket{le="0.001"}': 0,
        'yummy_features_request_seconds_bucket{le="0.0025"}': 2,
        'yummy_features_request_seconds_bucket{le="+Inf"}': 3,
        "yummy_features_request_seconds_sum": pytest.approx(0.5028),
        'yummy_features_stage_seconds_bucket{le="0.00025",stage="decode"}': 2,
        'yummy_features_stage_seconds_bucket{le="0.0005",stage="redis"}': 0,
        'yummy_features_stage_seconds_sum{stage="redis"}': pytest.approx(0.002),
        'yummy_features_stage_seconds_sum{stage="assemble"}': pytest.approx(0.0002),
        'yummy_features_entities_bucket{le="1.0"}': 1,
        'yummy_features_entities_bucket{le="50.0"}': 2,
        "yummy_features_entities_sum": 31,
        'yummy_features_rows_total{status="PRESENT"}': 1,
        'yummy_features_rows_total{status="NOT_FOUND"}': 1,
        'yummy_features_read_total{status="PRESENT"}': 3,
        'yummy_features_read_total{status="NOT_FOUND"}': 2,
        'yummy_features_read_total{status="NULL_VALUE"}': 0,
        'yummy_features_read_total{status="OUTSIDE_MAX_AGE"}': 0,
    }.items():
        assert found[name] == value, name
    assert found['yummy_features_view_age_seconds{view="v0"}'] > 1e9
    assert 'yummy_features_view_age_seconds{view="v1"}' not in found
    # It is counted once.
    assert told(metrics)['yummy_features_read_total{status="PRESENT"}'] == 3


def test_what_is_the_case_now() -> None:
    metrics = FeatureMetrics()
    current: Any = SimpleNamespace(selections=lambda: [1, 2], loaded=0.0)
    registries: Any = SimpleNamespace(current=current, looked=1.0)
    metrics.gauge(SimpleNamespace(running=3), registries, 4)  # type: ignore[arg-type]
    found = told(metrics)
    assert found["yummy_features_requests_running"] == 3
    assert found["yummy_features_plans"] == 2
    assert found["yummy_redis_reconnects_total"] == 4
    assert found["yummy_registry_loaded_age_seconds"] - found["yummy_registry_checked_age_seconds"] == pytest.approx(1)


def test_workers_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = FeatureMetrics(tmp_path)
    # A process that there always is.
    monkeypatch.setattr("os.getpid", lambda: 1)
    other = FeatureMetrics(tmp_path)
    for metrics, view in ((mine, 1), (other, 2)):
        tally = tally_of(*[1] * view)
        tally.add_row([1] * view, [1_000_000] * view)
        metrics.answered(stages(), 10.1, 1, tally)
    other.exposition()
    found = told(mine)
    assert found['yummy_features_requests_total{code="OK"}'] == 2
    assert found['yummy_features_read_total{status="PRESENT"}'] == 3
    assert 'yummy_features_view_age_seconds{view="v1"}' in found
