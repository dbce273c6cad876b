"""A materialization is watched from where Feast calls its engine; nothing of it is changed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from yummy_feast.serving.features.runs import Progress, Runs
from yummy_feast.serving.features.watching import WatchedProvider


@dataclass(frozen=True)
class Task:
    feature_view: Any
    tqdm_builder: Any = None


@pytest.fixture
def progress(tmp_path: Path) -> Progress:
    return Progress(Runs(tmp_path), "materialize", ["a", "b"], None, datetime(2026, 1, 1, tzinfo=UTC))


def states(progress: Progress) -> dict[str, str]:
    return {name: view.state for name, view in progress.run.views.items()}


def test_an_engine_that_takes_several_views(progress: Progress) -> None:
    class Engine:
        def materialize(self, registry: Any, tasks: list[Task], **options: Any) -> list[Any]:
            assert options == {"from_offline_store": True}
            with tasks[0].tqdm_builder(10) as bar:
                bar.set_description("a, b")
                assert states(progress) == {"a": "running", "b": "running"}
                bar.update(4)
            registry.apply_materialization(tasks[0].feature_view, 1)
            assert states(progress)["a"] == "done"
            return [SimpleNamespace(error=lambda: None), SimpleNamespace(error=lambda: ValueError("no"))]

    applied: list[Any] = []
    registry = SimpleNamespace(apply_materialization=lambda view, *more: applied.append((view.name, *more)))
    provider = WatchedProvider(SimpleNamespace(batch_engine=Engine(), other=5), progress)
    assert provider.other == 5
    tasks: Any = [Task(SimpleNamespace(name=name)) for name in "ab"]
    provider.batch_engine.materialize(registry, tasks, from_offline_store=True)
    assert applied == [("a", 1)]
    assert states(progress) == {"a": "done", "b": "failed"}
    assert progress.run.views["b"].error == "no"
    assert (progress.run.rows, progress.run.rows_expected) == (4, 10)


def test_a_provider_that_takes_one_view_at_a_time(progress: Progress) -> None:
    def materialize(feature_view: Any, tqdm_builder: Any) -> None:
        assert states(progress)[feature_view.name] == "running"
        tqdm_builder(1).update()
        if feature_view.name == "b":
            raise KeyError("b")

    provider = WatchedProvider(SimpleNamespace(materialize_single_feature_view=materialize), progress)
    provider.materialize_single_feature_view(feature_view=SimpleNamespace(name="a"))
    with pytest.raises(KeyError):
        provider.materialize_single_feature_view(feature_view=SimpleNamespace(name="b"))
    assert states(progress) == {"a": "done", "b": "failed"}
    assert progress.run.rows == 2
