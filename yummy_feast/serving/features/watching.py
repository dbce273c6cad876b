"""Watches a materialization from where Feast calls its engine: which view it is at, and how many rows are written.

Feast hands each task a function that makes a progress bar; ours counts instead of drawing. Everything else is passed
on, so any provider and any engine can be watched, as far as they tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from feast.infra.common.materialization_job import MaterializationJob, MaterializationTask

    from yummy_feast.serving.features.runs import Progress


class _PassedOn:
    """Everything that is not here is the other's."""

    def __init__(self, inner: Any, progress: Progress) -> None:
        self._inner = inner
        self._progress = progress

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class WatchedProvider(_PassedOn):
    """A provider of Feast's whose materializations are watched.

    Args:
        inner: the provider.
        progress: hears of it.
    """

    @property
    def batch_engine(self) -> Any:
        """The provider's own, watched."""
        return _WatchedEngine(self._inner.batch_engine, self._progress)

    def materialize_single_feature_view(self, **arguments: Any) -> None:
        """As the provider does it: engines that take one view at a time."""
        name = arguments["feature_view"].name
        self._progress.view(name, "running")
        arguments["tqdm_builder"] = partial(_Counter, progress=self._progress)
        try:
            self._inner.materialize_single_feature_view(**arguments)
        # Passed on as it is.
        except BaseException as error:
            self._progress.view(name, "failed", error)
            raise
        self._progress.view(name, "done")


class _WatchedEngine(_PassedOn):
    def materialize(
        self, registry: Any, tasks: MaterializationTask | Sequence[MaterializationTask], **options: Any
    ) -> list[MaterializationJob]:
        several = tasks if isinstance(tasks, Sequence) else [tasks]
        builder: Any = partial(_Counter, progress=self._progress)
        counted = [replace(task, tqdm_builder=builder) for task in several]
        watched = _WatchedRegistry(registry, self._progress)
        jobs: list[MaterializationJob] = self._inner.materialize(
            watched, counted if isinstance(tasks, Sequence) else counted[0], **options
        )
        for task, job in zip(several, jobs, strict=False):
            error = job.error()
            self._progress.view(task.feature_view.name, "done" if error is None else "failed", error)
        return jobs


class _WatchedRegistry(_PassedOn):
    def apply_materialization(self, feature_view: Any, *arguments: Any, **options: Any) -> None:
        self._inner.apply_materialization(feature_view, *arguments, **options)
        self._progress.view(feature_view.name, "done")


class _Counter:
    """What engines use of a tqdm bar. ``set_description`` names the views that are read together."""

    def __init__(self, total: int | None, progress: Progress) -> None:
        self._progress = progress
        progress.expect(total or 0)
        self.unit = "row"

    def __enter__(self) -> _Counter:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def set_description(self, description: str | None = None, refresh: bool = True) -> None:
        for name in (description or "").split(", "):
            if name in self._progress.run.views:
                self._progress.view(name, "running")

    def update(self, rows: float | None = 1) -> None:
        self._progress.add(int(rows or 0))

    def close(self) -> None:
        return None

    def refresh(self, *_: object, **__: object) -> None:
        return None
