"""What Feast calls: which views are copied by us and which by Feast's engine, what is marked, what is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from feast import FeatureView
from feast.infra.common.materialization_job import MaterializationJobStatus, MaterializationTask
from feast.infra.compute_engines.local.compute import LocalComputeEngine
from feast.infra.compute_engines.local.job import LocalMaterializationJob
from tqdm import tqdm

from tests.unit.materialization.memory_stores import moment, view
from yummy_feast.errors import SourceReadError, YummyError
from yummy_feast.materialization import engine as module
from yummy_feast.materialization.copying import Outcome, Stores, Task
from yummy_feast.materialization.engine import BEGINNING, YummyBatchEngine

START, END = moment(100), moment(200)
OURS, FEASTS = "ours", "Feast's"


class Registry:
    """Keeps what is applied."""

    def __init__(self, told: list[tuple[Any, ...]]) -> None:
        self.told = told

    def apply_materialization(self, table: FeatureView, project: str, start: datetime, end: datetime) -> None:
        self.told.append(("marked", table.name, project, start, end))


class Bench:
    """An engine whose copying and whose Feast only tell what they were asked; ``broken``: views that fail."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.broken: dict[str, YummyError] = {}
        self.steps: dict[str, list[datetime]] = {}
        self.stores: Stores | None = None
        self.options: dict[str, Any] = {}
        config: Any = SimpleNamespace()
        stores: Any = {"offline_store": "offline", "online_store": "online"}
        self.engine = YummyBatchEngine(repo_config=config, **stores)
        patch.setattr(module, "copy", self._copy)
        patch.setattr(LocalComputeEngine, "_materialize_one", self._of_feast)

    def _copy(self, stores: Stores, tasks: Sequence[Task], done: Callable[[int, datetime], object]) -> list[Outcome]:
        self.stores = stores
        outcomes = []
        for number, task in enumerate(tasks):
            self.told.append((OURS, task.view.name, task.start, task.end))
            error = self.broken.get(task.view.name)
            for end in self.steps.get(task.view.name, [] if error else [task.end]):
                done(number, end)
            outcomes.append(Outcome(error=error))
        return outcomes

    def _of_feast(self, registry: Any, task: MaterializationTask, **options: Any) -> LocalMaterializationJob:
        self.options = options
        name = task.feature_view.name
        self.told.append((FEASTS, name, task.start_time, task.end_time))
        error = self.broken.get(name)
        status = MaterializationJobStatus.ERROR if error else MaterializationJobStatus.SUCCEEDED
        return LocalMaterializationJob(job_id=name, status=status, error=error)

    def run(self, tasks: Any, **options: Any) -> list[Any]:
        registry: Any = Registry(self.told)
        return list(self.engine.materialize(registry, tasks, **options))


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def task(table: FeatureView, **options: Any) -> MaterializationTask:
    return replace(MaterializationTask("lab", table, START, END), **options)


def mark(name: str, end: datetime = END) -> tuple[Any, ...]:
    return "marked", name, "lab", START, end


def test_feast_hands_over_all_views_and_leaves_the_marks_to_us(bench: Bench) -> None:
    assert bench.engine.supports_batch
    assert bench.engine.applies_materialization


def test_a_window_is_marked_as_soon_as_it_is_done(bench: Bench) -> None:
    jobs = bench.run([task(view("a")), task(view("b"))])
    assert bench.told == [(OURS, "a", START, END), mark("a"), (OURS, "b", START, END), mark("b")]
    assert [job.status() for job in jobs] == [MaterializationJobStatus.SUCCEEDED] * 2
    assert bench.stores is not None
    assert bench.stores.offline is bench.engine.offline_store
    assert bench.stores.online is bench.engine.online_store
    assert bench.stores.config is bench.engine.repo_config
    assert bench.run([]) == []


def test_an_earlier_copy_that_is_finished_first_is_marked_then(bench: Bench) -> None:
    bench.steps["a"] = [moment(150), END]
    bench.run([task(view("a"))])
    assert bench.told[1:] == [mark("a", moment(150)), mark("a")]


def test_who_hands_over_a_single_task_marks_it(bench: Bench) -> None:
    [job] = bench.run(task(view("a")))
    assert bench.told == [(OURS, "a", START, END)]
    assert job.status() == MaterializationJobStatus.SUCCEEDED
    assert job.error() is None
    [job] = bench.run(task(view("b", enable_validation=True)))
    assert bench.told[1:] == [(FEASTS, "b", START, END)]


def test_jobs_come_in_the_order_of_the_tasks_whoever_did_them(bench: Bench) -> None:
    error = SourceReadError("rows.parquet cannot be read")
    bench.broken = {"c": error, "e": error}
    tables = [
        view("a", enable_validation=True),
        view("b"),
        view("c"),
        view("d", online=False, offline=True),
        view("e", enable_validation=True),
        view("f", enable_validation=True),
    ]
    jobs = bench.run([task(table) for table in tables])
    assert [job.job_id().split("-")[0] for job in jobs] == ["a", "b", "c", "d", "e", "f"]
    assert [job.error() for job in jobs] == [None, None, error, None, error, None]
    assert [job.status() == MaterializationJobStatus.ERROR for job in jobs] == [False, False, True, False, True, False]
    # Marked is what is done, and nothing else; a view that is kept offline only has nothing to do.
    assert [entry[1] for entry in bench.told if entry[0] == "marked"] == ["b", "a", "d", "f"]
    assert [entry[:2] for entry in bench.told if entry[0] != "marked"] == [
        (OURS, "b"),
        (OURS, "c"),
        (FEASTS, "a"),
        (FEASTS, "e"),
        (FEASTS, "f"),
    ]


def test_two_tasks_of_one_view_are_two(bench: Bench) -> None:
    table = view("a")
    jobs = bench.run([task(table), task(table, start_time=END, end_time=moment(300))])
    assert [entry[0] for entry in bench.told] == [OURS, "marked", OURS, "marked"]
    assert len(jobs) == 2


@pytest.mark.parametrize("validated", [False, True])
def test_without_event_timestamps_it_is_everything_until_now(bench: Bench, validated: bool) -> None:
    before = datetime.now(UTC)
    bench.run([task(view("a", enable_validation=validated), disable_event_timestamp=True)])
    (who, _, start, end), marked = bench.told
    assert who == (FEASTS if validated else OURS)
    assert start == BEGINNING == datetime(1, 1, 1, tzinfo=UTC)
    assert before <= end <= datetime.now(UTC)
    # What is marked is the window that was asked for.
    assert marked == mark("a")


def test_without_event_timestamps_no_other_window_is_marked(bench: Bench) -> None:
    bench.steps["a"] = [moment(150)]
    bench.run([task(view("a"), disable_event_timestamp=True)])
    assert [entry[0] for entry in bench.told] == [OURS]


def test_feasts_engine_hears_what_is_meant_for_engines(bench: Bench) -> None:
    bench.run([task(view("a", enable_validation=True))], lineage_parent="parent")
    assert bench.options == {"lineage_parent": "parent"}


def test_the_bar_is_feasts_or_tqdms_own(bench: Bench) -> None:
    def build(total: int) -> tqdm[Any]:
        return tqdm(total=total, ncols=33, disable=True)

    bench.run([task(view("a")), task(view("b"), tqdm_builder=build)])
    assert bench.stores is not None
    assert bench.stores.bar is build
    bench.run(task(view("a")))
    with bench.stores.bar(7) as bar:
        assert (type(bar), bar.total) == (tqdm, 7)
