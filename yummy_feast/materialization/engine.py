"""What Feast calls to materialize: all views of a run at once, so that views of one source are read together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from feast.infra.common.materialization_job import MaterializationJob, MaterializationJobStatus, MaterializationTask
from feast.infra.compute_engines.local.compute import LocalComputeEngine
from feast.infra.compute_engines.local.job import LocalMaterializationJob

from yummy_feast.materialization.copying import Stores, Task, copy
from yummy_feast.offline.plan import is_plain

if TYPE_CHECKING:
    from feast.infra.registry.base_registry import BaseRegistry
    from tqdm import tqdm

    from yummy_feast.offline.store import YummyOfflineStore
    from yummy_feast.online.store import YummyOnlineStore

BEGINNING = datetime.min.replace(tzinfo=UTC)
"""Before every row there can be."""


class YummyBatchEngine(LocalComputeEngine):
    """Feast's local engine, with our copying for plain views between our stores."""

    @property
    def supports_batch(self) -> bool:
        """Feast hands over all views of a run in one call."""
        return True

    @property
    def applies_materialization(self) -> bool:
        """A view's window is marked as done when it is, not at the end of the run."""
        return True

    def materialize(
        self, registry: BaseRegistry, tasks: MaterializationTask | list[MaterializationTask], **options: Any
    ) -> list[MaterializationJob]:
        """Copy the newest row per key of each task's window, both ends included, into the online store.

        ``disable_event_timestamp`` of a task: everything there is, up to now, whatever the window. Feast promises it,
        but its engines do not look at the flag.
        """
        if isinstance(tasks, MaterializationTask):
            # Who hands over a single task notes its window too.
            return self._run(registry, [tasks], lambda *_: None, options)

        def done(task: MaterializationTask, end: datetime) -> None:
            registry.apply_materialization(task.feature_view, task.project, task.start_time, end)

        return self._run(registry, tasks, done, options)

    def _run(
        self,
        registry: BaseRegistry,
        tasks: Sequence[MaterializationTask],
        done: Callable[[MaterializationTask, datetime], None],
        options: dict[str, Any],
    ) -> list[MaterializationJob]:
        ours = [task for task in tasks if is_plain(task.feature_view) and task.feature_view.online]
        # YummyProvider makes this engine for these two stores alone.
        offline, online = cast("YummyOfflineStore", self.offline_store), cast("YummyOnlineStore", self.online_store)
        stores = Stores(self.repo_config, offline, online, _bar_of(tasks))
        widened = [Task(one.feature_view, one.start_time, one.end_time) for one in map(_widened, ours)]

        def copied(number: int, end: datetime) -> None:
            task = ours[number]
            if end == widened[number].end:
                # Noted is the window that was asked for, also where event timestamps do not count.
                done(task, task.end_time)
            elif not task.disable_event_timestamp:
                done(task, end)

        outcomes = copy(stores, widened, copied)
        results = {id(task): outcome.error for task, outcome in zip(ours, outcomes, strict=True)}
        jobs: list[MaterializationJob] = []
        for task in tasks:
            if id(task) in results:
                jobs.append(_job(task, results[id(task)]))
                continue
            if is_plain(task.feature_view):
                # Only to be kept offline. Its rows are where they belong already; Feast's engine would append them to
                # the source they came from, once more with every run.
                jobs.append(_job(task, None))
            else:
                jobs += super().materialize(registry, _widened(task), **options)
            if jobs[-1].status() == MaterializationJobStatus.SUCCEEDED:
                done(task, task.end_time)
        return jobs


def _bar_of(tasks: Sequence[MaterializationTask]) -> Callable[[Any], tqdm[Any]]:
    from tqdm import tqdm

    found = next((task.tqdm_builder for task in tasks if task.tqdm_builder is not None), None)
    return found or (lambda total: tqdm(total=total))


def _widened(task: MaterializationTask) -> MaterializationTask:
    """Everything up to now, where that is asked for."""
    if not task.disable_event_timestamp:
        return task
    return replace(task, start_time=BEGINNING, end_time=datetime.now(UTC))


def _job(task: MaterializationTask, error: BaseException | None) -> LocalMaterializationJob:
    name = f"{task.feature_view.name}-{task.start_time}-{task.end_time}"
    status = MaterializationJobStatus.SUCCEEDED if error is None else MaterializationJobStatus.ERROR
    return LocalMaterializationJob(job_id=name, status=status, error=error)
